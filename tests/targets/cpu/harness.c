// Runs one compiled kernel without any TVM: a static program, so that an emulator needs no system.
// stdin: int32 count; for each tensor int32 code, bits, axes, then int64 sizes and its bytes.
// stdout: the bytes of the last tensor afterwards.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dlpack/dlpack.h>
#include <tvm/ffi/c_api.h>

enum { kTensors = 8, kAxes = 8, kAlignment = 256 };

// What compiled code asks of TVM's runtime.
void TVMFFIErrorSetRaisedFromCStrParts(const char* kind, const char** parts, int32_t count) {
  fprintf(stderr, "%s: ", kind);
  for (int32_t i = 0; i < count; ++i) fputs(parts[i], stderr);
  fputc('\n', stderr);
}

static void* allocate(size_t size) {
  return aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
}

static void* alloc_workspace(int type, int id, uint64_t size, int code, int bits) {
  (void)type, (void)id, (void)code, (void)bits;
  return allocate((size_t)size);
}

static int free_workspace(int type, int id, void* memory) {
  (void)type, (void)id;
  free(memory);
  return 0;
}

typedef struct {
  void* sync;
  int32_t count;
} ParallelGroup;
typedef int (*ParallelBody)(int task, ParallelGroup* group, void* data);

static int launch(ParallelBody body, void* data, int count) {
  (void)count;
  ParallelGroup group = {NULL, 1};
  return body(0, &group, data);
}

void* (*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = alloc_workspace;
int (*__TVMBackendFreeWorkspace)(int, int, void*) = free_workspace;
int (*__TVMBackendParallelLaunch)(ParallelBody, void*, int) = launch;

extern int32_t __tvm_ffi_kernel(void* self, void* arguments, int32_t count, void* result);

static void take(void* into, size_t size) {
  if (size != 0 && fread(into, 1, size, stdin) != size) exit(9);
}

static size_t read_tensor(DLTensor* tensor, int64_t* shape) {
  int32_t head[3];
  take(head, sizeof head);
  if (head[2] < 0 || head[2] > kAxes) exit(9);
  take(shape, sizeof *shape * (size_t)head[2]);
  size_t size = (size_t)head[1] / 8;
  for (int32_t axis = 0; axis < head[2]; ++axis) size *= (size_t)shape[axis];
  tensor->data = allocate(size);
  tensor->device.device_type = kDLCPU;
  tensor->ndim = head[2];
  tensor->dtype.code = (uint8_t)head[0];
  tensor->dtype.bits = (uint8_t)head[1];
  tensor->dtype.lanes = 1;
  tensor->shape = shape;
  take(tensor->data, size);
  return size;
}

int main(void) {
  static DLTensor tensors[kTensors];
  static int64_t shapes[kTensors][kAxes];
  static TVMFFIAny arguments[kTensors], result;
  int32_t count;
  size_t size = 0;
  take(&count, sizeof count);
  if (count < 1 || count > kTensors) return 9;
  for (int32_t i = 0; i < count; ++i) {
    size = read_tensor(&tensors[i], shapes[i]);
    arguments[i].type_index = kTVMFFIDLTensorPtr;
    arguments[i].v_ptr = &tensors[i];
  }
  if (__tvm_ffi_kernel(NULL, arguments, count, &result) != 0) return 3;
  return fwrite(tensors[count - 1].data, 1, size, stdout) == size ? 0 : 4;
}
