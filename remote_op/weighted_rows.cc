#include "remote_op/weighted_rows.h"

#include <Eigen/Core>

namespace portico {
namespace {

using Row = Eigen::Map<Eigen::ArrayXf>;
using ConstRow = Eigen::Map<const Eigen::ArrayXf>;

}  // namespace

void SetWeighted(float* row, const float* answer, float weight, size_t size) {
  const auto length = static_cast<Eigen::Index>(size);
  Row(row, length) = weight * ConstRow(answer, length);
}

void AddWeighted(float* row, const float* answer, float weight, size_t size) {
  const auto length = static_cast<Eigen::Index>(size);
  Row(row, length) += weight * ConstRow(answer, length);
}

}  // namespace portico
