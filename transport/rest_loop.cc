#include "transport/rest_loop.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace portico {
namespace {

/// Stops after so many rounds of what is queued, in which what was cancelled ends.
void StopAfter(boost::asio::io_context& io, int rounds) {
  boost::asio::post(io, [&io, rounds] { rounds == 0 ? io.stop() : StopAfter(io, rounds - 1); });
}

}  // namespace

RestLoop::RestLoop() : io_(std::make_unique<boost::asio::io_context>(1)) {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "foreign-rest");
    const auto work = boost::asio::make_work_guard(*io_);
    io_->run();
  });
}

RestLoop::~RestLoop() {
  // Not until all is done: a name may be being looked up.
  StopAfter(*io_, 8);
  thread_.join();
}

}  // namespace portico
