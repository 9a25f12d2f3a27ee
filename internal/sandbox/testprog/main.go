// Testprog is the program that the sandbox's tests confine: it does what an
// ordinary Go program of each role does, or ends in the ways that a Go program
// ends, and reports.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"rookery/internal/sandbox"
	"rookery/internal/sandbox/sandboxtest/inside"
)

// outcome is what goes to the report descriptor.
type outcome struct {
	Sandbox sandbox.Report
	Error   string
	Counts  map[string]int
}

func main() {
	spec, extra, err := inside.Inherit()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(64)
	}
	out := outcome{Counts: map[string]int{}}
	report := os.NewFile(inside.FDReport, "report")
	if spec.Job == "stage 2" {
		out.Sandbox, err = sandbox.EnterStage2(spec.Role, spec.Options())
	} else {
		out.Sandbox, err = spec.Confine()
	}
	if err == nil {
		err = run(spec, extra, out.Counts)
	}
	if err != nil {
		out.Error = err.Error()
	}
	if err := json.NewEncoder(report).Encode(out); err != nil {
		os.Exit(74)
	}
	if out.Error != "" {
		os.Exit(70)
	}
	os.Exit(7)
}

func run(spec inside.Spec, extra []int, counts map[string]int) error {
	switch spec.Job {
	case "work":
		return work(spec, extra, counts)
	case "panic":
		none := spec.Args[:0]
		none[len(spec.Job)] = "a plain bug"
	case "thrown":
		go panic("in another goroutine")
		select {}
	case "unlisted":
		return unix.Sethostname([]byte("x"))
	case "wait":
		if _, err := os.NewFile(inside.FDReport, "report").Write([]byte(" ")); err != nil {
			return err
		}
		_, err := unix.Read(extra[0], make([]byte, 1))
		return err
	case "nothing":
	default:
		return fmt.Errorf("unknown job %q", spec.Job)
	}
	return nil
}
