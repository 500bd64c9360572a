// TensorFlow's library greets on stderr while it is being loaded, before anybody could have told it not to, and the greeting
// would stand in every notebook. So this small library, loaded first, loads it with stderr closed.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

namespace {

__attribute__((constructor)) void LoadQuietly() {
  const int saved = dup(STDERR_FILENO);
  const int nowhere = open("/dev/null", O_WRONLY);
  if (saved < 0 || nowhere < 0) return;
  dup2(nowhere, STDERR_FILENO);
  dlopen(TENSORFLOW_FRAMEWORK, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);  // an error comes again, aloud, with the binding
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(nowhere);
}

}  // namespace
