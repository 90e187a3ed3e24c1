#pragma once

#include <random>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace portico {

/// Every dtype there is.
inline std::vector<DType> AllDTypes() {
  std::vector<DType> dtypes;
  for (int number = 1; number <= kMaxDType; ++number) dtypes.push_back(static_cast<DType>(number));
  return dtypes;
}

/// Random bytes (bools: 0 and 1; strings: short texts, some empty).
inline Tensor RandomTensor(DType dtype, Shape shape, std::mt19937& random) {
  const uint64_t elements = *NumElements(shape);
  if (dtype == DType::kString) {
    std::vector<std::string> values;
    for (uint64_t i = 0; i < elements; ++i) {
      values.emplace_back(random() % 8, static_cast<char>(random()));
    }
    return Tensor::OfStrings(std::move(shape), values);
  }
  Tensor tensor = Tensor::Allocate(dtype, std::move(shape));
  char* const to = tensor.mutable_bytes();
  for (size_t i = 0; i < tensor.bytes().size(); ++i) {
    to[i] = static_cast<char>(dtype == DType::kBool ? random() % 2 : random());
  }
  // The half that an odd number of 4-bit elements leaves over is 0.
  if (BitsPerElement(dtype) == 4 && elements % 2 == 1) to[elements / 2] = static_cast<char>(to[elements / 2] & 15);
  return tensor;
}

/// Shape of `rows` rows, of rank 1 to 4 and inner extents 0 to 3.
inline Shape RandomShape(int64_t rows, std::mt19937& random) {
  Shape shape = {rows};
  for (size_t rank = random() % 4; rank > 0; --rank) {
    shape.push_back(random() % 10 == 0 ? 0 : static_cast<int64_t>(1 + random() % 3));
  }
  return shape;
}

/// The elements of each row, by value: what rows are compared by, without the code under test.
inline std::vector<std::vector<std::string>> RowsOf(const Tensor& tensor) {
  uint64_t per_row = 1;
  for (size_t d = 1; d < tensor.shape().size(); ++d) per_row *= static_cast<uint64_t>(tensor.shape()[d]);
  const int bits = BitsPerElement(tensor.dtype());
  std::vector<std::vector<std::string>> rows(static_cast<size_t>(tensor.rows()));
  uint64_t element = 0;
  for (std::vector<std::string>& row : rows) {
    for (uint64_t i = 0; i < per_row; ++i, ++element) {
      if (tensor.dtype() == DType::kString) {
        row.emplace_back(tensor.StringAt(element));
      } else if (bits == 4) {
        const int byte = static_cast<unsigned char>(tensor.bytes()[element / 2]);
        row.emplace_back(1, static_cast<char>(element % 2 == 0 ? byte % 16 : byte / 16));
      } else {
        const size_t size = static_cast<size_t>(bits) / 8;
        row.emplace_back(tensor.bytes().substr(element * size, size));
      }
    }
  }
  return rows;
}

}  // namespace portico
