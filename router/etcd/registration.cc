#include "router/etcd/registration.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace portico {

EtcdRegistration::EtcdRegistration(Options options, EtcdClient& client, MetricRegistry& metrics)
    : options_(std::move(options)),
      client_(client),
      metrics_(metrics),
      registered_metric_(metrics_.NewGauge("portico_etcd_registered", "1 while this node's key stands in etcd", {})),
      leases_metric_(
          metrics_.NewCounter("portico_etcd_leases_total", "Leases taken: each but the first after a loss", {})) {}

void EtcdRegistration::Set(std::string value) {
  MutexLock lock(&mutex_);
  if (stopping_) return;
  value_ = std::move(value);
  fresh_ = true;
  changed_.NotifyAll();
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
}

absl::Status EtcdRegistration::WaitForFirst(absl::Duration patience) {
  const absl::Time until = absl::Now() + patience;
  MutexLock lock(&mutex_);
  while (!stopping_) {
    const absl::Time now = absl::Now();
    const bool taken = absl::IsAlreadyExists(outcome_);
    if (taken && now >= taken_for_certain_) return outcome_;
    if (!taken && !absl::IsUnknown(outcome_)) return absl::OkStatus();
    const absl::Time wake = taken ? taken_for_certain_ : until;
    if (now >= wake) return absl::OkStatus();
    changed_.WaitFor(&mutex_, wake - now);
  }
  return absl::OkStatus();
}

void EtcdRegistration::Stop() {
  std::thread thread;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

void EtcdRegistration::Run() {
  pthread_setname_np(pthread_self(), "etcd-lease");
  const absl::Duration period = options_.ttl / 3;
  absl::Duration retry = options_.retry_delay;
  for (;;) {
    std::string value;
    {
      MutexLock lock(&mutex_);
      if (stopping_) break;
      value = value_;
      fresh_ = false;
    }
    const absl::Status status = Renew(value);
    Say(status);
    const absl::Duration wait = status.ok() ? period : std::min(retry, period);
    retry = status.ok() ? options_.retry_delay : retry * 2;
    const absl::Time until = absl::Now() + wait;
    MutexLock lock(&mutex_);
    Note(status);
    while (!stopping_ && !(fresh_ && status.ok()) && absl::Now() < until) {
      changed_.WaitFor(&mutex_, until - absl::Now());
    }
  }
  registered_metric_.Set(0);
  // Without an answer the lease runs out.
  if (lease_ != 0) client_.RevokeLease(lease_).IgnoreError();
}

absl::Status EtcdRegistration::Renew(const std::string& value) {
  if (lease_ == 0) {
    is_written_ = false;
    ASSIGN_OR_RETURN(lease_, client_.GrantLease(options_.ttl));
    renewed_ = absl::Now();
    leases_metric_.Increment();
  }
  absl::Status status;
  if (!is_written_ || value != written_) {
    status = is_written_ ? client_.Put(options_.key, value, lease_) : Claim(value);
    if (status.ok()) {
      written_ = value;
      is_written_ = true;
    }
  }
  // Writing is no sign of life; and while another one has the key, the lease is kept for when it goes.
  if ((status.ok() || absl::IsAlreadyExists(status)) && absl::Now() - renewed_ >= options_.ttl / 4) {
    const absl::Status kept = client_.KeepLeaseAlive(lease_);
    if (kept.ok()) renewed_ = absl::Now();
    if (!kept.ok()) status = kept;
  }
  if (absl::IsNotFound(status)) {
    lease_ = 0;
    is_written_ = false;
  }
  return status;
}

absl::Status EtcdRegistration::Claim(const std::string& value) {
  EtcdTransaction claim;
  claim.conditions = {{options_.key, 0}};
  claim.puts = {{options_.key, value, lease_}};
  ASSIGN_OR_RETURN(bool done, client_.Commit(claim));
  if (done) return absl::OkStatus();
  const absl::StatusOr<EtcdEntry> held = client_.Get(options_.key);
  if (absl::IsNotFound(held.status())) return absl::UnavailableError("got changes while it was written, want none");
  RETURN_IF_ERROR(held.status());
  holder_ = options_.holder ? options_.holder(held->value) : Holder();
  if (holder_.state != Holder::State::kGone) {
    return absl::AlreadyExistsError(absl::StrCat("got it held by ", holder_.who, ", want it free"));
  }
  // Unless another one was faster: then it is looked at anew.
  claim.conditions[0].create_revision = held->create_revision;
  ASSIGN_OR_RETURN(done, client_.Commit(claim));
  return done ? absl::OkStatus() : absl::UnavailableError("got changes while it was written, want none");
}

void EtcdRegistration::Note(const absl::Status& status) {
  if (absl::IsAlreadyExists(status)) {
    const absl::Duration ttl = holder_.ttl > absl::ZeroDuration() ? holder_.ttl : options_.ttl;
    const absl::Time certain =
        holder_.state == Holder::State::kRuns ? absl::InfinitePast() : absl::Now() + ttl + options_.lateness;
    taken_for_certain_ = std::min(taken_for_certain_, certain);
  } else {
    taken_for_certain_ = absl::InfiniteFuture();
  }
  outcome_ = WithContext(absl::StrCat("key '", options_.key, "'"), status);
  changed_.NotifyAll();
}

void EtcdRegistration::Say(const absl::Status& status) {
  registered_metric_.Set(is_written_ ? 1 : 0);
  if (status.code() == said_) return;
  said_ = status.code();
  if (!status.ok()) {
    LogWarning(absl::StrCat("key '", options_.key, "': ", status.message(), "; trying again"));
  } else {
    LogInfo(absl::StrCat("key '", options_.key, "': stands in etcd again"));
  }
}

}  // namespace portico
