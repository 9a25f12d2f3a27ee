package mailtool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
)

// Exit codes of sysexits(3).
const (
	exitUsage    = 64
	exitData     = 65 // what was given, or what is stored, cannot be used
	exitNoInput  = 66 // no such mailbox or message
	exitSoftware = 70
	exitCreate   = 73 // it is there already, or may not become larger
	exitIO       = 74
	exitTemp     = 75 // try again later
	exitNoPerm   = 77
)

// failure is an error with the exit code that rookeryctl shall end with.
type failure struct {
	exit int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failf(exit int, format string, args ...any) error {
	return &failure{exit, fmt.Errorf(format, args...)}
}

// exits say how each kind of error of a store ends a command.
var exits = [...]struct {
	kind errkind.Kind
	exit int
}{
	{errkind.NotFound, exitNoInput}, {errkind.Expunged, exitNoInput}, {errkind.Exists, exitCreate}, {errkind.OverQuota, exitCreate},
	{errkind.NoSpace, exitCreate}, {errkind.Limit, exitCreate}, {errkind.TooBig, exitData}, {errkind.Invalid, exitData}, {errkind.Corrupt, exitData},
	{errkind.InUse, exitTemp}, {errkind.Unavailable, exitTemp}, {errkind.TooMany, exitTemp}, {errkind.NoPermission, exitNoPerm},
	{errkind.ReadOnly, exitNoPerm}, {errkind.IO, exitIO},
}

// done is the end of a request.
func done(err error) *toolmsg.Done {
	if err == nil {
		return &toolmsg.Done{}
	}
	exit := exitSoftware
	var f *failure
	if errors.As(err, &f) {
		exit = f.exit
	} else {
		for _, e := range exits {
			if errkind.Is(err, e.kind) {
				exit = e.exit
			}
		}
	}
	text := err.Error()
	return &toolmsg.Done{Exit: uint8(exit), Text: text[:min(len(text), toolmsg.MaxText)]}
}

// call is one request under way.
type call struct {
	*service
	ctx     context.Context
	args    []string
	options map[string][]string
	touched bool      // the mail was changed
	told    time.Time // when progress was last told
}

func newCall(ctx context.Context, s *service, r *toolmsg.Request) (*call, error) {
	c := &call{service: s, ctx: ctx, args: r.Args, options: map[string][]string{}}
	for _, o := range r.Options {
		name, value, _ := strings.Cut(o, "=")
		c.options[name] = append(c.options[name], value)
	}
	return c, nil
}

// is reports whether a switch was given.
func (c *call) is(name string) bool { _, ok := c.options[name]; return ok }

// option gives the last value of an option, or "".
func (c *call) option(name string) string {
	if all := c.options[name]; len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// alive is the error of a request that nobody waits for any more.
func (c *call) alive() error {
	if c.ctx.Err() == nil {
		return nil
	}
	if cause := context.Cause(c.ctx); !errors.Is(cause, io.EOF) {
		return cause
	}
	return failf(exitTemp, "the command was cut short")
}

// line sends one object of the result.
func (c *call) line(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	for {
		n := min(len(text), toolmsg.MaxLine)
		more := n < len(text)
		if err := c.flow.Send(&toolmsg.Line{JSON: text[:n], More: more}); err != nil || !more {
			return err
		}
		text = text[n:]
	}
}

// progressEvery is how often progress is told.
const progressEvery = 100 * time.Millisecond

// progress tells how far the work is, not too often.
func (c *call) progress(text string, count, total int) error {
	now := c.now()
	if count < total && now.Sub(c.told) < progressEvery {
		return c.alive()
	}
	c.told = now
	if err := c.alive(); err != nil {
		return err
	}
	return c.flow.Send(&toolmsg.Progress{Count: uint64(count), Total: uint64(total), Text: text[:min(len(text), toolmsg.MaxName)]})
}

// find looks for what a store can do beside serving sessions, through what was
// put around it.
func find[T any](s mailstore.Store) (T, bool) {
	for s != nil {
		if t, ok := s.(T); ok {
			return t, true
		}
		w, ok := s.(interface{ Unwrap() mailstore.Store })
		if !ok {
			break
		}
		s = w.Unwrap()
	}
	var none T
	return none, false
}

// lacks is the error for what a driver cannot do.
func lacks(what string) error {
	return failf(exitSoftware, "this mail format cannot %s", what)
}
