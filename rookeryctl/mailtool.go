package rookeryctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"rookery/internal/ipc/toolmsg"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/show"
	"rookery/rookeryctl/internal/tool"
)

// mailFlags are what all commands on a user's mail take.
type mailFlags struct {
	user     string
	progress bool
}

// mail makes a command one on a user's mail.
func (a *app) mail(c *cobra.Command) (*cobra.Command, *mailFlags) {
	f := &mailFlags{}
	c.Flags().StringVarP(&f.user, "user", "u", "", "whose mail (`USER` as at login)")
	c.Flags().BoolVar(&f.progress, "progress", false, "tell how far the work is, on standard error, though it is no terminal")
	_ = c.RegisterFlagCompletionFunc("user", a.completeUsers) // the flag is there
	return c, f
}

// request is a verb's, with its options.
func request(verb string, args []string, options ...string) *toolmsg.Request {
	var given []string
	for _, o := range options {
		if o != "" {
			given = append(given, o)
		}
	}
	return &toolmsg.Request{Verb: verb, Args: args, Options: given}
}

// opt writes an option if value is not empty.
func opt(name, value string) string {
	if value == "" {
		return ""
	}
	return name + "=" + value
}

// on writes a switch if it is on.
func on(name string, set bool) string {
	if !set {
		return ""
	}
	return name
}

// each writes an option several times.
func each(name string, values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = name + "=" + v
	}
	return out
}

// openTool starts the process that works on the user's mail.
func (a *app) openTool(f *mailFlags) (*tool.Client, error) {
	if f.user == "" {
		return nil, control.Errorf(control.ExitUsage, "whose mail? write -u USER")
	}
	ctl, err := a.dial()
	if err != nil {
		return nil, err
	}
	t, err := tool.Start(ctl, f.user)
	return t, clean(err)
}

// clean makes an error fit for a terminal: its text may come from a process
// that a user has taken over.
func clean(err error) error {
	var ce *control.Error
	if !errors.As(err, &ce) {
		return err
	}
	lines := strings.Split(ce.Text, "\n")
	for i, l := range lines {
		lines[i] = show.Clean(l)
	}
	return &control.Error{Exit: ce.Exit, Text: strings.Join(lines, "\n")}
}

// interruptible gives a context that Ctrl-C ends.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

// runMail does one request and prints its lines.
func (a *app) runMail(f *mailFlags, r *toolmsg.Request) error {
	return a.withTool(f, func(ctx context.Context, t *tool.Client, sink tool.Sink, _ *meter) error {
		return t.Do(ctx, r, sink)
	})
}

// withTool runs work with a process for the user's mail, whose lines are printed
// and whose progress the meter shows. Ctrl-C ends it.
func (a *app) withTool(f *mailFlags, work func(ctx context.Context, t *tool.Client, sink tool.Sink, m *meter) error) error {
	t, err := a.openTool(f)
	if err != nil {
		return err
	}
	defer t.Close()
	ctx, stop := interruptible()
	defer stop()
	out := show.NewStream(a.out, a.json)
	meter := a.meter(f)
	err = work(ctx, t, tool.Sink{Line: out.Row, Progress: meter.show}, meter)
	meter.clear()
	if cerr := out.Close(); err == nil && cerr != nil {
		err = control.Errorf(control.ExitSoftware, "%v", cerr)
	}
	return clean(err)
}

// meter shows progress.
type meter struct {
	w     io.Writer // nil: nobody looks
	lines bool      // one line after the other: no terminal
	wrote bool
	last  time.Time
}

// meterEvery is how often a log gets a line.
const meterEvery = 5 * time.Second

func (a *app) meter(f *mailFlags) *meter {
	if w, ok := a.errOut.(*os.File); ok && term.IsTerminal(int(w.Fd())) {
		return &meter{w: w}
	}
	if f.progress {
		return &meter{w: a.errOut, lines: true}
	}
	return &meter{}
}

func (m *meter) show(p *toolmsg.Progress) {
	if m.w == nil || m.lines && time.Since(m.last) < meterEvery && p.Count != p.Total {
		return
	}
	m.last = time.Now()
	text := show.Clean(p.Text)
	switch {
	case p.Total > 0:
		text = fmt.Sprintf("%s: %d of %d", text, p.Count, p.Total)
	case p.Count > 0:
		text = fmt.Sprintf("%s: %d", text, p.Count)
	}
	if m.lines {
		fmt.Fprintln(m.w, text)
		return
	}
	m.wrote = true
	fmt.Fprintf(m.w, "\r\x1b[K%.120s", text)
}

// clear takes the line away before anything else is printed.
func (m *meter) clear() {
	if m.wrote {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.wrote = false
	}
}

// completeMailboxes completes names of mailboxes of the user that -u names.
func (a *app) completeMailboxes(f *mailFlags) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		names, err := a.mailboxNames(f)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
