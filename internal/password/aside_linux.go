// aside_linux.go: the second process: this program once more, at low priority,
// with two pipes to it.

package password

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// asideMark in its environment tells the second process what it is. It has
// nothing else in there: the server's environment may hold secrets.
const asideMark = "CADDY_REGISTRATION_HASHING"

const (
	asideOrders  = 3 // descriptors
	asideResults = 4
	// The least weight, where both want the CPU, in slices of the shortest kind
	// (Linux 6.12 and later; else the usual ones of 3 ms): who wakes up need not
	// wait for the end of a long one.
	asideNice  = 19
	asideSlice = 100 * time.Microsecond
)

// asideMemory is how the second process treats its memory: what a hash has left is
// used again rather than given back to the system and asked for anew, which costs
// a page fault for each 4 KiB of its 19 MiB; and it is collected after three of
// them, at which the process has some 140 MB on two cores.
var asideMemory = []string{"GODEBUG=madvdontneed=0", "GOGC=150"}

// init makes this process a hashing one, before main, if that is what it was
// started for.
func init() {
	if os.Getenv(asideMark) == "" {
		return
	}
	giveWay()
	if err := serveOrders(os.NewFile(asideOrders, "orders"), os.NewFile(asideResults, "results")); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
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
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH, Nice: asideNice, Runtime: uint64(asideSlice)}
		if unix.SchedSetAttr(tid, &attr, 0) != nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, asideNice)
		}
	}
}

// startAside starts the process. It ends when its orders do: when this process
// ends, however that happens.
func startAside() (*asideProcess, error) {
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
	cmd.Args = []string{"caddy (hashing passwords)"}
	cmd.Env = append([]string{asideMark + "=1"}, asideMemory...)
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		cmd.Env = append(cmd.Env, "GOCOVERDIR="+dir)
	}
	cmd.ExtraFiles = []*os.File{ordersOut, resultsIn}
	cmd.Stderr = os.Stderr
	// A Ctrl-C at the terminal is for the server, which ends in its own time.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = ordersOut.Close()
	_ = resultsIn.Close()
	if err != nil {
		_ = ordersIn.Close()
		_ = resultsOut.Close()
		return nil, err
	}
	return newAsideProcess(ordersIn, resultsOut,
		func() { _ = cmd.Process.Kill() },
		func() { _ = cmd.Wait(); _ = ordersIn.Close(); _ = resultsOut.Close() })
}
