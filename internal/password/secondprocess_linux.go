// secondprocess_linux.go: the second process: this program once more, at low priority and
// without any right, with two pipes to it.

package password

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	childOrders  = 3 // descriptors
	childResults = 4
	// The least weight, where both want the CPU, in slices of the shortest kind
	// (Linux 6.12 and later; else the usual ones of 3 ms): who wakes up need not
	// wait for the end of a long one.
	childNice  = 19
	childSlice = 100 * time.Microsecond
)

// childEnvironment says how the second process treats its memory: what a hash has left is
// used again rather than given back to the system and asked for anew, which costs
// a page fault for each 4 KiB of its 19 MiB. When it is collected, hashHeap says, and the
// collector itself only where that fails. A home it has because a
// program may look for its own when it starts, and complain in the log where there is
// none. There is nothing else in its environment: the server's may hold secrets.
var childEnvironment = []string{"GODEBUG=madvdontneed=0", "GOGC=400", "HOME=/"}

// RunSecondProcess is the second process that UseSecondProcess starts: it hashes
// what it is told on one pipe, answers on another and returns when there is no
// more. Anywhere else, it returns an error at once.
func RunSecondProcess() error {
	for _, fd := range []int{childOrders, childResults} {
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFIFO {
			return errors.New("this process hashes passwords for a server, which starts it by itself where it needs one")
		}
	}
	hideMemory()
	giveWay()
	return serveOrders(os.NewFile(childOrders, "orders"), os.NewFile(childResults, "results"))
}

// hideMemory keeps the passwords in this process out of core files, and other
// processes of the same user from reading them (ptrace, /proc/<pid>/mem).
func hideMemory() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// withoutRights calls start on a thread that has no capability, can get none and is
// not used again; a process that is started there inherits that. In the process
// itself it would be too late: there, each thread would have to do it. What the
// system does not allow stays as it is.
func withoutRights(start func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this goroutine
		if unix.Gettid() == unix.Getpid() {
			// The thread that stands for the whole process keeps its rights. It is
			// held here, so the next goroutine has another one.
			done <- withoutRights(start)
			runtime.UnlockOSThread()
			return
		}
		for c := range uintptr(unix.CAP_LAST_CAP + 1) {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		}
		_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
		var none [2]unix.CapUserData // version 3 has two
		_ = unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
		_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		done <- start()
	}()
	return <-done
}

// giveWay lowers the priority of all threads of this process, and of those to
// come, which inherit it. What the system does not allow stays as it is.
func giveWay() {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH, Nice: childNice, Runtime: uint64(childSlice)}
		if unix.SchedSetAttr(tid, &attr, 0) != nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, childNice)
		}
	}
}

// startChild starts the process. It ends when its orders do: when this process
// ends, however that happens.
func startChild(args []string) (*childProcess, error) {
	ordersOut, ordersIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	resultsOut, resultsIn, err := os.Pipe()
	if err != nil {
		_ = ordersOut.Close()
		_ = ordersIn.Close()
		return nil, err
	}
	// The very program that runs, even if its file was replaced meanwhile.
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"caddy"}, args...)
	cmd.Env = childEnvironment
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		cmd.Env = append([]string{"GOCOVERDIR=" + dir}, childEnvironment...)
	}
	cmd.ExtraFiles = []*os.File{ordersOut, resultsIn}
	cmd.Stderr = os.Stderr
	// A Ctrl-C at the terminal is for the server, which ends in its own time.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = withoutRights(cmd.Start)
	_ = ordersOut.Close()
	_ = resultsIn.Close()
	if err != nil {
		_ = ordersIn.Close()
		_ = resultsOut.Close()
		return nil, err
	}
	return newChildProcess(ordersIn, resultsOut,
		func() { _ = cmd.Process.Kill() },
		func() { _ = cmd.Wait(); _ = ordersIn.Close(); _ = resultsOut.Close() })
}
