#include "bench/server_process.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "base/check.h"

namespace portico::bench {

ServerProcess::ServerProcess(const std::function<void(int stop, int out)>& serve) {
  int to_child[2], from_child[2];
  PORTICO_CHECK(pipe(to_child) == 0 && pipe(from_child) == 0);
  pid_ = fork();
  PORTICO_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    close(to_child[1]);
    serve(to_child[0], from_child[1]);
    _exit(1);
  }
  close(to_child[0]);
  close(from_child[1]);
  end_ = to_child[1];
  FILE* in = fdopen(from_child[0], "r");
  char first[256], second[256];
  PORTICO_CHECK(std::fscanf(in, "%255s %255s", first, second) == 2);
  std::fclose(in);
  first_ = first;
  second_ = second;
}

ServerProcess::~ServerProcess() {
  close(end_);
  waitpid(pid_, nullptr, 0);
}

void ServerProcess::EndWith(int stop) {
  char end;
  while (read(stop, &end, 1) > 0) {
  }
  _exit(0);
}

}  // namespace portico::bench
