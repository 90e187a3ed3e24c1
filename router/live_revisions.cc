#include "router/live_revisions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace portico {
namespace {

ServableRef RefOf(const TrafficTarget& target) {
  ServableRef ref;
  ref.name = target.model;
  ref.version = target.version;
  return ref;
}

absl::Status NotHeld(const ServableRef& ref, uint64_t number) {
  return absl::NotFoundError(absl::StrCat("servable '", ref.ToString(), "': got a request of revision ", number,
                                          ", which this node does not hold (yet, or any more)"));
}

}  // namespace

std::shared_ptr<const RevisionView> RevisionView::Of(const Revision& revision, const Revision::Node& node,
                                                     TrafficArms* arms) {
  auto view = std::make_shared<RevisionView>();
  view->number = revision.number;
  for (const std::string& name : node.serve) {
    const Revision::Model* model = revision.FindModel(name);
    if (model != nullptr) view->models[name] = {model->pins, model->labels};
  }
  view->splits = !revision.traffic.empty();
  if (arms != nullptr) view->traffic = arms->ViewOf(revision, node.serve);
  return view;
}

const TrafficView* RevisionView::TrafficOf(const ServableRef& ref) const {
  if (traffic.empty() || ref.version > 0 || !ref.label.empty() || !ref.digest.empty()) return nullptr;
  const auto found = traffic.find(ref.name);
  if (found == traffic.end()) return nullptr;
  if (ref.version < 0) return found->second.get();
  // By 0 clients of OpenVINO's model server mean the default version, where there is no such version.
  const auto model = models.find(ref.name);
  const bool named = model != models.end() && !model->second.pins.empty() && model->second.pins.front().version == 0;
  return named ? nullptr : found->second.get();
}

absl::StatusOr<ServableRef> RevisionView::Narrow(const ServableRef& ref) const {
  if (!ref.digest.empty()) return ref;
  if (const TrafficView* const spread = TrafficOf(ref); spread != nullptr) return RefOf(spread->Heaviest());
  const auto found = models.find(ref.name);
  if (found == models.end()) {
    // Who names a version means it, in whichever revision.
    if (ref.version >= 0) return ref;
    return ref.label.empty()
               ? absl::NotFoundError(absl::StrCat("Servable not found for request: Latest(", ref.name, ")"))
               : absl::InvalidArgumentError(absl::StrCat("Unrecognized servable version label: ", ref.label));
  }
  const Model& model = found->second;
  if (model.pins.empty()) return ref;
  ServableRef narrowed = ref;
  if (!ref.label.empty()) {
    const auto label = model.labels.find(ref.label);
    if (label == model.labels.end()) {
      return absl::InvalidArgumentError(absl::StrCat("Unrecognized servable version label: ", ref.label));
    }
    narrowed.label.clear();
    narrowed.version = label->second;
    return narrowed;
  }
  // By 0 clients of OpenVINO's model server mean the default version.
  if (ref.version < 0 || (ref.version == 0 && model.pins.front().version != 0)) {
    narrowed.version = model.pins.back().version;
  }
  return narrowed;
}

std::pair<uint64_t, std::shared_ptr<const void>> LiveRevisions::Stamp() const {
  Copy& copy = copies_.Own();
  MutexLock lock(&copy.mutex);
  const uint64_t number = current_.load(std::memory_order_acquire);
  return {number, copy.next != nullptr && *copy.next == number ? copy.next : copy.stamp};
}

absl::StatusOr<ServableRef> LiveRevisions::Narrow(const ServableRef& ref, uint64_t number) const {
  // Who has a digest needs no revision.
  if (!ref.digest.empty()) return ref;
  {
    Copy& copy = copies_.Own();
    MutexLock lock(&copy.mutex);
    if (number == 0) number = current_.load(std::memory_order_acquire);
    if (number == 0) return ref;
    for (const auto& view : copy.views) {
      if (view->number == number) return view->Narrow(ref);
    }
  }
  return NotHeld(ref, number);
}

absl::StatusOr<ServableRef> LiveRevisions::Route(const ServableRef& ref, const RequestContext& context) const {
  if (!draws() || !ref.digest.empty()) return Narrow(ref, context.revision);
  uint64_t number = context.revision;
  {
    Copy& copy = copies_.Own();
    MutexLock lock(&copy.mutex);
    if (number == 0) number = current_.load(std::memory_order_acquire);
    if (number == 0) return ref;
    for (const auto& view : copy.views) {
      if (view->number != number) continue;
      const TrafficView* const traffic = view->TrafficOf(ref);
      if (traffic == nullptr) return view->Narrow(ref);
      const Ref<const TrafficArm>& arm = traffic->Choose(context);
      if (!context.shadow) context.arm = arm;
      return RefOf(arm->target());
    }
  }
  return NotHeld(ref, number);
}

void LiveRevisions::SetViews(const Views& views) {
  for (int i = 0; i < copies_.size(); ++i) {
    Views next = views;  // What it was goes after the lock.
    MutexLock lock(&copies_[i].mutex);
    copies_[i].views.swap(next);
  }
}

void LiveRevisions::Add(std::shared_ptr<const RevisionView> view) {
  if (view->splits) draws_.store(true, std::memory_order_relaxed);
  MutexLock lock(&mutex_);
  views_.push_back(std::move(view));
  SetViews(views_);
}

void LiveRevisions::Flip(uint64_t number) {
  MutexLock lock(&mutex_);
  PORTICO_CHECK(std::any_of(views_.begin(), views_.end(), [&](const auto& view) { return view->number == number; }));
  for (int i = 0; i < copies_.size(); ++i) {
    auto stamp = std::make_shared<const uint64_t>(number);
    stamps_.emplace_back(number, stamp);
    Copy& copy = copies_[i];
    MutexLock copy_lock(&copy.mutex);
    copy.next = std::move(stamp);
  }
  // Here it becomes so, for all.
  current_.store(number, std::memory_order_release);
  for (int i = 0; i < copies_.size(); ++i) {
    std::shared_ptr<const uint64_t> before;  // It goes after the lock.
    Copy& copy = copies_[i];
    MutexLock copy_lock(&copy.mutex);
    before = std::exchange(copy.stamp, std::move(copy.next));
  }
}

void LiveRevisions::Drop(uint64_t number) {
  MutexLock lock(&mutex_);
  views_.erase(std::remove_if(views_.begin(), views_.end(), [&](const auto& view) { return view->number == number; }),
               views_.end());
  SetViews(views_);
}

uint64_t LiveRevisions::OldestInUse() {
  MutexLock lock(&mutex_);
  uint64_t oldest = UINT64_MAX;
  stamps_.erase(
      std::remove_if(stamps_.begin(), stamps_.end(), [](const auto& stamp) { return stamp.second.expired(); }),
      stamps_.end());
  for (const auto& [number, stamp] : stamps_) oldest = std::min(oldest, number);
  return stamps_.empty() ? 0 : oldest;
}

}  // namespace portico
