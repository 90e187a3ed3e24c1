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
    status = client_.Put(options_.key, value, lease_);
    if (status.ok()) {
      written_ = value;
      is_written_ = true;
    }
  }
  // Writing is no sign of life.
  if (status.ok() && absl::Now() - renewed_ >= options_.ttl / 4) {
    status = client_.KeepLeaseAlive(lease_);
    if (status.ok()) renewed_ = absl::Now();
  }
  if (absl::IsNotFound(status)) {
    lease_ = 0;
    is_written_ = false;
  }
  return status;
}

void EtcdRegistration::Say(const absl::Status& status) {
  registered_metric_.Set(is_written_ ? 1 : 0);
  const bool away = !status.ok();
  if (away == away_) return;
  away_ = away;
  if (away) {
    LogWarning(absl::StrCat("key '", options_.key, "': ", status.message(), "; trying again"));
  } else {
    LogInfo(absl::StrCat("key '", options_.key, "': stands in etcd again"));
  }
}

}  // namespace portico
