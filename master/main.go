package master

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"rookery/internal/buildid"
)

// Exit codes of sysexits(3).
const (
	exitUsage       = 64
	exitUnavailable = 69
	exitSoftware    = 70
	exitOSErr       = 71
	exitConfig      = 78
)

// failure is an error with its exit code.
type failure struct {
	exit int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(exit int, format string, args ...any) error {
	return &failure{exit, fmt.Errorf(format, args...)}
}

// DefaultConfig is what is read without -c.
const DefaultConfig = "/etc/rookery/rookery.toml"

// Main runs the server in the foreground and gives its exit code.
func Main() int {
	flags := flag.NewFlagSet("rookery", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("c", DefaultConfig, "")
	version := flags.Bool("V", false, "")
	if err := flags.Parse(os.Args[1:]); err != nil || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: rookery [-c FILE]\n       rookery -V\nruns the server in the foreground; rookeryctl does all else")
		return exitUsage
	}
	if *version {
		fmt.Printf("rookery %s (build %s)\n", buildid.Version, buildid.ID())
		return 0
	}
	path, err := filepath.Abs(*file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rookery:", err)
		return exitOSErr
	}
	if err := run(path); err != nil {
		fmt.Fprintln(os.Stderr, "rookery:", err)
		var f *failure
		if errors.As(err, &f) {
			return f.exit
		}
		return exitSoftware
	}
	return 0
}
