package rookeryctl

import (
	"context"
	"encoding/json"
	"path/filepath"

	"github.com/spf13/cobra"

	"rookery/internal/ipc/ctlmsg"
	"rookery/internal/ipc/toolmsg"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/show"
	"rookery/rookeryctl/internal/tool"
)

func (a *app) relocateCommand() *cobra.Command {
	const use = "relocate -u USER --to PATH"
	c, f := a.mail(&cobra.Command{Use: use, Short: "Move a user's mail to another directory while he is logged in", Args: usage(cobra.NoArgs, "rookeryctl "+use),
		Long: `Move what lies in a user's mail_path to another directory, with UIDs, flags,
subscriptions, quota and all other control files. The copy is made while he works;
then his sessions end for some moments, what changed is copied, everything is
compared, and the server takes the new place. Where anything differs, nothing
changes. What was copied is then taken away at the old place.

The server keeps where the mail is as long as settings and userdb lead to the old
place; let them say the new one when you can (mail_path = PATH in the userdb), and
it is forgotten. Programs that deliver into the old place themselves must be told.

When it is cut short, give the same command again: it goes on where it was.`})
	to := c.Flags().String("to", "", "the directory, empty or not there yet (`PATH`)")
	keep := c.Flags().Bool("keep-old", false, "leave the old mail where it is")
	forget := c.Flags().Bool("forget", false, "leave what is still to be freed of a move that was cut short")
	listed := c.Flags().Bool("list", false, "only show whose mail was moved")
	dry := c.Flags().BoolP("dry-run", "n", false, "only tell how much there is to copy, and whether there is room")
	_ = c.MarkFlagDirname("to") // the flag is there
	c.RunE = func(*cobra.Command, []string) error {
		chosen := 0
		for _, b := range []bool{*to != "", *forget, *listed} {
			if b {
				chosen++
			}
		}
		if chosen != 1 {
			return control.Errorf(control.ExitUsage, "write one of --to PATH, --forget, --list")
		}
		switch {
		case *listed:
			return a.ask(ctlmsg.MailMoves)
		case *forget:
			if f.user == "" {
				return control.Errorf(control.ExitUsage, "whose mail? write -u USER")
			}
			return a.ask(ctlmsg.MailForget, f.user)
		}
		return a.runRelocate(f, *to, *dry, *keep)
	}
	return c
}

// relocation is one run of the command.
type relocation struct {
	tool  *tool.Client
	move  tool.Move
	ctx   context.Context
	out   *show.Stream
	meter *meter
}

func (a *app) runRelocate(f *mailFlags, to string, dry, keep bool) error {
	if f.user == "" {
		return control.Errorf(control.ExitUsage, "whose mail? write -u USER")
	}
	ctl, err := a.dial()
	if err != nil {
		return err
	}
	r := &relocation{out: show.NewStream(a.out, a.json), meter: a.meter(f)}
	if r.tool, r.move, err = tool.StartMove(ctl, f.user, filepath.Clean(to), dry); err != nil {
		return clean(err)
	}
	defer r.tool.Close()
	var stop context.CancelFunc
	r.ctx, stop = interruptible()
	defer stop()
	switch {
	case dry:
		err = r.phase("plan")
	case r.move.Switched:
		err = r.all(r.step("rescue"), r.free)
	default:
		err = r.all(r.step("copy"), r.step("copy"), r.hold, r.step("finish"), r.change(keep), r.step("late"), r.tool.LetIn)
		if err == nil && keep {
			err = r.phase("keep")
		} else if err == nil {
			err = r.free()
		}
	}
	r.meter.clear()
	if cerr := r.out.Close(); err == nil && cerr != nil {
		err = control.Errorf(control.ExitSoftware, "%v", cerr)
	}
	return clean(err)
}

func (r *relocation) all(steps ...func() error) error {
	for _, f := range steps {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (r *relocation) step(name string) func() error { return func() error { return r.phase(name) } }

func (r *relocation) phase(name string) error {
	q := request(toolmsg.Relocate, nil, opt("phase", name), opt("from", r.move.From), opt("to", r.move.To))
	return r.tool.Do(r.ctx, q, tool.Sink{Line: r.out.Row, Progress: r.meter.show})
}

func (r *relocation) hold() error {
	r.meter.clear()
	return r.tool.Hold()
}

// change has the server take the new place.
func (r *relocation) change(keep bool) func() error {
	return func() error {
		if err := r.ctx.Err(); err != nil {
			return control.Errorf(control.ExitTemp, "interrupted")
		}
		step := "switch"
		if keep {
			step = "switch-keep"
		}
		if err := r.tool.Moved(step); err != nil {
			return err
		}
		line, err := json.Marshal(map[string]string{"step": "switched", "to": r.move.To})
		if err != nil {
			return err
		}
		return r.out.Row(line)
	}
}

func (r *relocation) free() error {
	if err := r.phase("free"); err != nil {
		return err
	}
	return r.tool.Moved("freed")
}
