#include "node/servables/waiting_requests.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace portico {

absl::Status WaitingRequests::Add(Request&& request) {
  if (size_ >= limit_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "model '", request.ref.name, "': got ", size_,
        " requests waiting for models to be loaded on demand, want at most ", limit_, "; try again later"));
  }
  ++size_;
  const std::string name = request.ref.name;
  models_[name].push_back(std::move(request));
  return absl::OkStatus();
}

std::vector<WaitingRequests::Finished> WaitingRequests::Take(
    const std::string& model, absl::FunctionRef<std::optional<Result>(const ServableRef&)> result) {
  std::vector<Finished> finished;
  const auto found = models_.find(model);
  if (found == models_.end()) return finished;
  std::deque<Request> left;
  for (Request& request : found->second) {
    std::optional<Result> got = result(request.ref);
    if (got.has_value()) {
      finished.push_back({std::move(request.done), *std::move(got)});
    } else {
      left.push_back(std::move(request));
    }
  }
  size_ -= finished.size();
  if (left.empty()) {
    models_.erase(found);
  } else {
    found->second = std::move(left);
  }
  return finished;
}

std::vector<WaitingRequests::Finished> WaitingRequests::TakeDead(const Clock& clock) {
  std::vector<Finished> dead;
  for (auto model = models_.begin(); model != models_.end();) {
    std::deque<Request> left;
    for (Request& request : model->second) {
      absl::Status why;
      if (request.context->cancelled.load(std::memory_order_relaxed)) {
        why = absl::CancelledError(absl::StrCat("model '", model->first, "': cancelled while it is being loaded"));
      } else if (request.context->deadline.Expired(clock)) {
        why = absl::DeadlineExceededError(
            absl::StrCat("model '", model->first, "': the deadline passed while it is being loaded on demand"));
      }
      if (why.ok()) {
        left.push_back(std::move(request));
      } else {
        dead.push_back({std::move(request.done), std::move(why)});
      }
    }
    model->second = std::move(left);
    model = model->second.empty() ? models_.erase(model) : std::next(model);
  }
  size_ -= dead.size();
  return dead;
}

}  // namespace portico
