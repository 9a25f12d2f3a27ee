// Bench measures Rookery beside Debian's Dovecot on this machine: logins,
// reading and changing mail, memory, what is written to the disk. Both servers
// run at the same time on loopback ports, with the same users, the same
// passwd-file, the same kind of TLS key, and with the same mail on one
// loop-mounted ext4; each row is measured several times, alternating between
// the servers, and shown with its spread, the processor time of the server's
// processes for each operation and, where something is written, syncs and bytes.
//
// It is started by scripts/bench (`make bench`), needs root, since both servers
// separate their processes by user ids, and ends every process that it started.
// It must know nothing of Rookery but its settings, its ports, its processes
// and the names of its index files: it speaks to both servers through the same
// code.
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
	row     string        // one row, or those whose names begin so, or "" for all
	bin     string        // folder with Rookery's programs
	seconds time.Duration // each measurement of logins
	span    time.Duration // each measurement of the mail store
	repeats int
	users   int // who take turns in the rows "another user"
	limit   time.Duration
	json    bool
	write   string // file that gets the tables, or ""
	record  string // file with the figures of all rows ever recorded
	only    string // one server, for work on the benchmark itself
	from    string // a result of --json to show again, in place of measuring
	quick   bool
	million bool
	syncs   bool
	profile string // folder for profiles of Rookery, or ""
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.row, "row", "", "measure one row, or those whose names begin so; \"list\" names them")
	flag.StringVar(&o.bin, "bin", "bin", "folder with Rookery's programs")
	flag.DurationVar(&o.seconds, "time", 3*time.Second, "length of one measurement of logins")
	flag.DurationVar(&o.span, "span", 1200*time.Millisecond, "length of one measurement of the mail store")
	flag.IntVar(&o.repeats, "repeats", 3, "measurements of each row and server")
	flag.IntVar(&o.users, "users", 1800, "users; more than worker_process_limit, so that nobody's process still waits for him when his turn comes again")
	flag.DurationVar(&o.limit, "limit", 2*time.Hour, "give up after this")
	flag.BoolVar(&o.json, "json", false, "print the result as JSON")
	flag.StringVar(&o.write, "write", "", "also write the tables into this file, between its bench marks")
	flag.StringVar(&o.record, "record", "bench/results.json", "with --write: where the figures of all rows are kept, those that this run does not measure too")
	flag.StringVar(&o.only, "only", "", "measure one server: rookery, dovecot or, for logins, dovecot-hp")
	flag.StringVar(&o.from, "from", "", "measure nothing: show, and write, this result of --json")
	flag.BoolVar(&o.quick, "quick", false, "a tenth of the messages, each row once, logins with few users: to see that all rows work")
	flag.BoolVar(&o.million, "million", false, "also the rows with 1,000,000 messages")
	flag.BoolVar(&o.syncs, "syncs", true, "count syncs of write rows with strace, in a run of its own (with --quick only if it is given)")
	flag.StringVar(&o.profile, "profile", "", "also profile Rookery with perf while each row of the mail store runs, into this folder")
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.quick {
		o.syncs = o.syncs && given["syncs"]
		o.repeats, o.seconds, o.span, o.users = 1, 500*time.Millisecond, 250*time.Millisecond, 200
	}
	return o
}

func main() {
	o := parseFlags()
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
	logins, stores, err := pick(o)
	if err != nil || logins == nil && stores == nil {
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
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	inodes := 3_000_000
	if o.million {
		inodes = 12_000_000
	}
	d, err := makeDisk(dir, inodes)
	if err != nil {
		return err
	}
	defer d.unmount()

	began := time.Now()
	res := newResult(o, d)
	if res.Rows, err = measureLogins(ctx, logins, o, d); err != nil {
		return err
	}
	rows, err := measureStores(ctx, stores, o, d)
	res.Rows = append(res.Rows, rows...)
	res.Took = time.Since(began).Round(time.Second).String()
	if err != nil && len(res.Rows) == 0 {
		return err
	}
	res.sort()
	return errors.Join(err, res.show(o))
}

// measureLogins runs the servers with many users, and ends them.
func measureLogins(ctx context.Context, rows []row, o options, d *disk) ([]rowResult, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	dir := filepath.Join(d.root, "logins")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	w, err := newWorld(dir, o.bin, o.users, o.only)
	if err != nil {
		return nil, err
	}
	defer w.stop()
	return w.measure(ctx, rows, o)
}

// progress tells what is being done, on standard error.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
