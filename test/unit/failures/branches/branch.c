/*
 * A builtin for bash: 'branch' is fork(2). The child goes on from here as the same shell at the same place of the same
 * function; the parent waits for it, and has its exit code. Declared here, so that no headers need to be installed.
 */
typedef int pid_t;

extern pid_t make_child(char *command, int flags);
extern int wait_for(pid_t child, int flags);
extern int stop_pipeline(int is_background, void *command);
extern void stop_making_children(void);
extern void cleanup_the_pipeline(void);
extern void delete_all_jobs(int running_only);
extern char *strdup(const char *text);

static int branch(void *words) {
  (void)words;
  pid_t child = make_child(strdup("branch"), 0);
  if (child != 0) {
    stop_pipeline(0, 0);
    return wait_for(child, 0);
  }
  stop_making_children();
  cleanup_the_pipeline();
  delete_all_jobs(0);
  return 0;
}

static char *const manual[] = {"Continues in a copy of the shell, and waits for it.", 0};

/* struct builtin of bash's builtins.h; 1: it is enabled. */
struct {
  const char *name;
  int (*run)(void *words);
  int flags;
  char *const *manual;
  const char *usage;
  void *handle;
} branch_struct = {"branch", branch, 1, manual, "branch", 0};
