/* A library that misbehaves when it is told to, for the sessions of a device. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <tvm/ffi/c_api.h>
#include <unistd.h>

#define FUNCTION(name) \
  int __tvm_ffi_##name(void* self, const TVMFFIAny* args, int32_t count, TVMFFIAny* result)

static int give(TVMFFIAny* result, int64_t value) {
  result->type_index = kTVMFFIInt;
  result->zero_padding = 0;
  result->v_int64 = value;
  return 0;
}

FUNCTION(add) { return give(result, args[0].v_int64 + args[1].v_int64); }

FUNCTION(write_to_null) {
  *(volatile int*)0 = 1;
  return 0;
}

FUNCTION(raise_signal) {
  signal((int)args[0].v_int64, SIG_DFL);
  kill(getpid(), (int)args[0].v_int64);
  return 0;
}

FUNCTION(leave) { _exit((int)args[0].v_int64); }

/* Says that it has begun. */
FUNCTION(spin) {
  FILE* file = fopen("spinning", "w");
  if (file != NULL) fclose(file);
  for (;;) pause();
}

/* A process that has left the session's group and parent; returns its number. */
FUNCTION(escape) {
  int ends[2];
  pid_t pid = 0;
  if (pipe(ends) != 0) return give(result, -1);
  if (fork() == 0) {
    setsid();
    pid = fork();
    if (pid == 0) {
      for (;;) pause();
    }
    if (write(ends[1], &pid, sizeof pid) != sizeof pid) _exit(1);
    _exit(0);
  }
  if (read(ends[0], &pid, sizeof pid) != sizeof pid) pid = -1;
  return give(result, pid);
}

/* How many sockets, pipes and files are open besides stdin, stdout and stderr. */
FUNCTION(count_open) {
  int64_t open = 0;
  struct stat found;
  for (int fd = 3; fd < 1024; ++fd) open += fstat(fd, &found) == 0;
  return give(result, open);
}

FUNCTION(write_file) {
  FILE* file = fopen("here", "w");
  if (file == NULL) return give(result, -1);
  fputs("here", file);
  return give(result, fclose(file));
}
