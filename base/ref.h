#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace portico {

/// Base of objects that count their own owners (one allocation instead of shared_ptr's two). Deleted with the last Ref.
/// The count is thread-safe.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

 protected:
  virtual ~RefCounted() = default;
  /// Frees the object; an object with an unusual allocation overrides it.
  virtual void Destroy() const { delete this; }

 private:
  template <typename T>
  friend class Ref;
  void Acquire() const { count_.fetch_add(1, std::memory_order_relaxed); }
  void Release() const {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) Destroy();
  }
  mutable std::atomic<int32_t> count_{0};
};

/// Shared ownership of a RefCounted. One Ref belongs to one thread at a time; several may share the object.
template <typename T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT: as for a smart pointer
  /// Takes shared ownership of `object`, which may be null.
  explicit Ref(T* object) : object_(object) {
    if (object_ != nullptr) object_->Acquire();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <typename U>
  requires std::is_convertible_v<U*, T*> Ref(Ref<U> other)
      : object_(other.Detach()) {}  // NOLINT: as for a smart pointer
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->Release();
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  /// Gives the ownership to the caller without releasing it.
  T* Detach() { return std::exchange(object_, nullptr); }

 private:
  T* object_ = nullptr;
};

template <typename T, typename... Args>
Ref<T> MakeRef(Args&&... args) {
  return Ref<T>(new T(std::forward<Args>(args)...));
}

}  // namespace portico
