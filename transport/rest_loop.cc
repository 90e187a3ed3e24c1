#include "transport/rest_loop.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

namespace portico {

RestLoop::RestLoop() : io_(std::make_unique<boost::asio::io_context>(1)) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "foreign-rest");
    const auto work = boost::asio::make_work_guard(*io_);
    io_->run();
  });
}

RestLoop::~RestLoop() {
  io_->stop();
  thread_.join();
}

}  // namespace portico
