// Bench measures Rookery beside Debian's Dovecot on this machine: logins per
// second, CPU per login, memory of idle sessions. Both servers run at the same
// time on loopback ports, with the same users, the same passwd-file, the same
// kind of TLS key and their mail on the same file system; each row is measured
// several times, alternating between the servers, and shown with its spread.
//
// It is started by scripts/bench (`make bench`), needs root, since both servers
// separate their processes by user ids, and ends every process that it started.
// It must know nothing of Rookery but its ports and its processes: it speaks to
// both servers through the same code.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	row     string        // one row, or "" for all
	bin     string        // folder with Rookery's programs
	seconds time.Duration // each measurement of a rate
	repeats int
	users   int // who take turns in the rows "another user"
	limit   time.Duration
	json    bool
	write   string // file that gets the table, or ""
	only    string // one server, for work on the benchmark itself
	from    string // a result of --json to show again, in place of measuring
}

func main() {
	var o options
	flag.StringVar(&o.row, "row", "", "measure one row; \"list\" names them")
	flag.StringVar(&o.bin, "bin", "bin", "folder with Rookery's programs")
	flag.DurationVar(&o.seconds, "time", 3*time.Second, "length of one measurement of a rate")
	flag.IntVar(&o.repeats, "repeats", 3, "measurements of each row and server")
	flag.IntVar(&o.users, "users", 1800, "users; more than worker_process_limit, so that nobody's process still waits for him when his turn comes again")
	flag.DurationVar(&o.limit, "limit", 12*time.Minute, "give up after this")
	flag.BoolVar(&o.json, "json", false, "print the result as JSON")
	flag.StringVar(&o.write, "write", "", "also write the table into this file, between its bench marks")
	flag.StringVar(&o.only, "only", "", "measure one server: rookery, dovecot or dovecot-hp")
	flag.StringVar(&o.from, "from", "", "measure nothing: show, and write, this result of --json")
	flag.Parse()

	// The servers are told to end when the thread that started them does: the
	// main thread, which lives as long as we do.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done after %v", o.limit))
	defer cancel()
	if err := run(ctx, o); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run measures and prints; everything that it starts is gone when it returns.
func run(ctx context.Context, o options) error {
	if o.from != "" {
		res, err := readResult(o.from)
		if err != nil {
			return err
		}
		return res.show(o)
	}
	rows, err := pick(o.row)
	if err != nil || rows == nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root: both servers run their processes under several user ids")
	}
	// Below /var/tmp: unprivileged processes must reach it, and it is no tmpfs.
	dir, err := os.MkdirTemp("/var/tmp", "rookery-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	w, err := newWorld(dir, bin, o.users, o.only)
	if err != nil {
		return err
	}
	defer w.stop()

	began := time.Now()
	res, err := w.measure(ctx, rows, o)
	if err != nil {
		return err
	}
	res.Took = time.Since(began).Round(time.Second).String()
	return res.show(o)
}

// progress tells what is being done, on standard error.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
