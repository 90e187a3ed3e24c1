#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/mutex.h"
#include "base/request_context.h"
#include "base/tensor.h"
#include "node/servables/servable.h"
#include "router/router.h"
#include "router/traffic_arms.h"

namespace portico {

struct AnswerComparison;

/// Sends copies of requests to shadows (TrafficSplit::Shadow) once their answers have gone out, and compares what comes
/// back; nobody else ever sees it. A copy goes through the router like a portal's call, so that any node of the mesh
/// may serve the shadow, with a deadline of its own, at a lower priority, without retries, and without a word to what
/// the router knows of replicas. Tensors are shared with the request.
///
/// Threads: Wants() and Send() on any; neither waits, and Wants(), which is all that requests without a copy meet,
/// takes no lock. Copies are sent and answers compared on one niced thread, which starts with the first. Where it does
/// not keep up, copies are dropped, by number and bytes.
class Shadows {
 public:
  /// An answered request.
  struct Answered {
    /// Keeps `signature`.
    std::shared_ptr<const Servable> servable;
    const Signature* signature = nullptr;
    Ref<const RequestContext> context;
    std::vector<Tensor> inputs;
    std::vector<Tensor> outputs;
    absl::Duration latency;
  };
  /// One of the largest differences there were between an answer and its copy's.
  struct Example {
    absl::Time time;
    std::string trace;
    double difference = 0;
    std::string where;
  };
  static constexpr size_t kMaxExamples = 8;

  /// `router` and `clock` are not owned and must outlive it, but for Stop(): the router may go after that.
  Shadows(Router& router, const Clock& clock) : router_(router), clock_(clock) {}
  /// Stops. REQUIRES: the router has ended, or has no copy.
  ~Shadows();

  /// Whether a copy of the request is wanted. REQUIRES: it has an arm.
  bool Wants(const RequestContext& context) const;
  /// REQUIRES: Wants() said so.
  void Send(Answered answered);
  /// No copies any more.
  void Stop();

  /// The worst of each model and shadow, worst first.
  std::map<std::pair<std::string, std::string>, std::vector<Example>> Examples() const;

 private:
  struct Copy;
  /// Runs it on the thread of copies; where that has stopped, never.
  void Schedule(Executor::Task task);
  void Start(std::unique_ptr<Copy> copy);
  void OnReply(std::unique_ptr<Copy> copy, absl::StatusOr<PeerMessage> reply);
  void Note(const Copy& copy, const AnswerComparison& comparison);

  Router& router_;
  const Clock& clock_;
  /// Who sends a copy meets it.
  Mutex thread_mutex_;
  std::unique_ptr<ThreadPool> thread_ ABSL_GUARDED_BY(thread_mutex_);
  bool stopped_ ABSL_GUARDED_BY(thread_mutex_) = false;
  mutable Mutex examples_mutex_;
  std::map<std::pair<std::string, std::string>, std::vector<Example>> examples_ ABSL_GUARDED_BY(examples_mutex_);
};

}  // namespace portico
