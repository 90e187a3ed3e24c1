#include "node/observe/memory_account.h"

#include <future>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/node/servables/servables_fixture.h"

namespace portico {
namespace {

using ::testing::HasSubstr;

using MemoryAccountTest = ServablesFixture;

/// Keeps whoever asks for the time until it is let go. Thread-safe.
class StoppedClock final : public Clock {
 public:
  absl::Time Now() const override {
    released_.wait();
    return absl::UnixEpoch();
  }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> release_;
  std::shared_future<void> released_{release_.get_future()};
};

TEST_F(MemoryAccountTest, TellsWhereMemoryIs) {
  Publish("m", 1, 4096);  // 1 MiB
  ASSERT_TRUE(Configure({Model("m")}).ok());
  Inference inference({}, *servables_, Clock::Real(), *metrics_);
  const MemoryAccount account(*servables_, inference, nullptr, *metrics_);
  account.Refresh();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_memory_bytes{of=\"weights\"} 1048576"));
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_memory_bytes{of=\"pinned\"} 0"));
  EXPECT_THAT(account.Json(), HasSubstr("{\"model\":\"m\",\"version\":1,\"state\":\"AVAILABLE\",\"bytes\":10"));
  // A request holds the version beyond its end.
  const Held held = *servables_->Resolve({.name = "m"});
  ASSERT_TRUE(servables_->Unload("m").ok());
  account.Refresh();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_memory_bytes{of=\"pinned\"} 10"));
  EXPECT_THAT(account.Json(), HasSubstr("\"state\":\"UNLOADING\""));
}

TEST_F(MemoryAccountTest, TellsWhatWaitsToBeWritten) {
  Start();
  Inference inference({}, *servables_, Clock::Real(), *metrics_);
  StoppedClock clock;
  RequestLog::Options options;
  options.files.folder = folder_.path() + "/log";
  const std::unique_ptr<RequestLog> log = *RequestLog::Create(options, clock, *metrics_);
  const MemoryAccount account(*servables_, inference, log.get(), *metrics_);
  PredictionRecord record;
  record.model = "m";
  record.inputs.push_back({"x", Tensor::CopyOf(DType::kUint8, {1000}, std::string(1000, 'x'))});
  log->Add(std::move(record));
  account.Refresh();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_memory_bytes{of=\"request_log\"} 10"));
  EXPECT_THAT(account.Json(), HasSubstr("\"request_log\":{\"queued_bytes\":10"));
  clock.Release();
  log->Flush();
  account.Refresh();
  EXPECT_THAT(metrics_->Expose(), HasSubstr("portico_memory_bytes{of=\"request_log\"} 0"));
  EXPECT_THAT(account.Json(), HasSubstr("\"request_log\":{\"queued_bytes\":0}"));
}

}  // namespace
}  // namespace portico
