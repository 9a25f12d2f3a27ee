// Attacker confines itself as a role does, as the sandbox's tests say, and
// then tries the whole catalogue. With the job "victim" it is what others
// attack: a process that sleeps and lets itself be traced.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"rookery/internal/attack"
	"rookery/internal/sandbox/sandboxtest/inside"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == attack.ExecArg {
		fmt.Fprintln(os.Stderr, attack.ExecArg)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(70)
	}
}

func run() error {
	spec, extra, err := inside.Inherit()
	if err != nil {
		return err
	}
	report := os.NewFile(inside.FDReport, "report")
	switch spec.Job {
	case "victim":
		return victim(report)
	case "outside":
		return json.NewEncoder(report).Encode(fromOutside(spec.Args[0]))
	case "exec":
		return attack.Exec(spec.Confine)
	case "32 bit", "x32":
		return attack.OtherNumbers(spec.Confine, spec.Job == "x32")
	case "wait":
		if _, err := spec.Confine(); err != nil {
			return err
		}
		return waitForEOF(report, extra[0])
	}
	var env attack.Env
	if err := json.Unmarshal([]byte(spec.Args[0]), &env); err != nil {
		return err
	}
	env.Streams, env.Listeners, env.Multipath = extra[0:2], extra[2:4], extra[4:5]
	if _, err := spec.Confine(); err != nil {
		return err
	}
	out, err := attack.RunAll(&env, attack.Catalogue())
	if err != nil {
		return err
	}
	return json.NewEncoder(report).Encode(out)
}

// victim may be traced by anybody of its uid, as far as Yama goes.
func victim(report *os.File) error {
	if err := unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0); err != nil && err != unix.EINVAL {
		return err
	}
	return waitForEOF(report, 0)
}

// waitForEOF says that it is there and waits until fd ends.
func waitForEOF(report *os.File, fd int) error {
	if _, err := report.Write([]byte("ready\n")); err != nil {
		return err
	}
	_, err := unix.Read(fd, make([]byte, 1))
	return err
}

// fromOutside is what an unconfined process of the same uid tries on a
// confined one: the results by name, "" for done.
func fromOutside(pid string) map[string]string {
	out := map[string]string{}
	try := func(name string, err error) {
		out[name] = ""
		if err != nil {
			out[name] = err.Error()
		}
	}
	runtime.LockOSThread()
	n := 0
	if _, err := fmt.Sscan(pid, &n); err != nil {
		n = -1
	}
	_, err := os.ReadFile("/proc/" + pid + "/environ")
	try("environ", err)
	f, err := os.Open("/proc/" + pid + "/mem")
	try("mem", err)
	if err == nil {
		f.Close()
	}
	_, err = os.ReadDir("/proc/" + pid + "/fd")
	try("fd", err)
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(n), 0, 0, 0, 0)
	if errno != 0 {
		try("ptrace", errno)
	} else {
		try("ptrace", nil)
	}
	return out
}
