#pragma once

namespace portico {

/// Tells the C library's allocator to keep large blocks instead of giving them back to the kernel at every free:
/// buffers of tensors come and go with every request, and faulting their pages in again costs more than the copy into
/// them. For the start of main(), before threads; calling it again does nothing new. A no-op where the allocator is not
/// glibc's.
void TuneAllocator();

}  // namespace portico
