#pragma once

#include "router/revision.h"

namespace portico {

/// Whether the process that runs as `a` of revision `from` can go on as `b` of revision `to`: what a process reads when
/// it starts says the same in both, the providers of models that it goes on serving among it, since what is loaded
/// stays as it was loaded.
bool SameProcess(const Revision& from, const Revision::Node& a, const Revision& to, const Revision::Node& b);

}  // namespace portico
