package rookeryctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rookery/internal/ipc"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/foreign"
	"rookery/internal/vfs"
	"rookery/rookeryctl/internal/control"
	"rookery/rookeryctl/internal/export"
	"rookery/rookeryctl/internal/show"
	"rookery/rookeryctl/internal/tool"
)

// formatHelp lists formats for a help text.
func formatHelp(names, texts []string) string {
	var b strings.Builder
	for i, n := range names {
		fmt.Fprintf(&b, "\n  %-8s %s", n, texts[i])
	}
	return b.String()
}

func (a *app) importCommand() *cobra.Command {
	const use = "import -u USER [--format F] [--to MAILBOX] PATH"
	names, texts := foreign.Formats()
	c, f := a.mail(&cobra.Command{Use: use, Short: "Put mail from files and folders into a user's mailboxes", Args: usage(cobra.ExactArgs(1), "rookeryctl "+use),
		Long: "Put mail from files and folders into a user's mailboxes, with flags, keywords and dates as far as the format has them. Folders become mailboxes of the same names, below --to if that is given; what lies at the top goes to --to, or INBOX.\n\nFormats:" + formatHelp(names, texts)})
	im := importing{app: a, mailFlags: f}
	c.Flags().StringVar(&im.format, "format", "", "what PATH is (default: look)")
	c.Flags().StringVar(&im.to, "to", "", "the `MAILBOX` for what lies at the top, and above the other folders")
	c.Flags().BoolVar(&im.newOnly, "new-only", false, "leave out messages that the mailbox has already (same header and size), as when the command is given again")
	c.Flags().BoolVar(&im.keepUIDs, "keep-uids", false, "keep UIDs and UIDVALIDITY, as far as the source has them; the mailboxes must be new or empty")
	c.MarkFlagsMutuallyExclusive("new-only", "keep-uids")
	c.Flags().BoolVarP(&im.dry, "dry-run", "n", false, "only tell what would be imported")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("to", a.completeMailboxes(f))
	c.RunE = func(_ *cobra.Command, args []string) error { return im.run(args[0]) }
	return c
}

// importing is one import.
type importing struct {
	app *app
	*mailFlags
	format, to   string
	newOnly, dry bool
	keepUIDs     bool
	bad          int
}

// openForeign opens the operator's tree. Links are followed to it, not within.
func openForeign(path, format string) (foreign.Reader, func(), error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(real)
	}
	if err != nil {
		return nil, nil, control.Errorf(exitNoInput, "%v", err)
	}
	dir, name := real, "."
	if !info.IsDir() {
		dir, name = filepath.Dir(real), filepath.Base(real)
	}
	fs, err := vfs.OpenRoot(dir)
	if err != nil {
		return nil, nil, control.Errorf(exitNoInput, "%v", err)
	}
	r, err := foreign.Open(fs, name, format)
	if err != nil {
		fs.Close()
		return nil, nil, control.Errorf(exitData, "%s: %v", show.Clean(path), err)
	}
	return r, func() { r.Close(); fs.Close() }, nil
}

// More of sysexits(3).
const (
	exitData    = 65
	exitNoInput = 66
	exitIO      = 74
)

func (im *importing) run(path string) error {
	r, done, err := openForeign(path, im.format)
	if err != nil {
		return err
	}
	defer done()
	if im.dry {
		return im.tell(r)
	}
	t, err := im.app.openTool(im.mailFlags)
	if err != nil {
		return err
	}
	defer t.Close()
	ctx, stop := interruptible()
	defer stop()
	out := show.NewStream(im.app.out, im.app.json)
	meter := im.app.meter(im.mailFlags)
	err = t.DoWith(ctx, request(toolmsg.Import, []string{im.to}, on("new-only", im.newOnly), on("keep-uids", im.keepUIDs)), tool.Sink{Line: out.Row, Progress: meter.show},
		func(flow *toolmsg.Flow) error { return im.send(flow, r) })
	meter.clear()
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil && im.bad > 0 {
		err = control.Errorf(exitData, "%d messages could not be read and were left out", im.bad)
	}
	return clean(err)
}

// tell is what --dry-run does.
func (im *importing) tell(r foreign.Reader) error {
	folders, err := r.Folders()
	if err != nil {
		return control.Errorf(exitData, "%v", err)
	}
	out := show.NewStream(im.app.out, im.app.json)
	for _, f := range folders {
		n, size := 0, int64(0)
		err := r.Read(f, func(m *foreign.Message) error {
			if m.Err != nil {
				im.badOne(m.Where, m.Err)
				return nil
			}
			n++
			size += m.Size
			return nil
		})
		if err != nil {
			return control.Errorf(exitData, "%v", err)
		}
		body, err := json.Marshal(struct {
			Folder   string `json:"folder"`
			Messages int    `json:"messages"`
			Size     int64  `json:"size"`
		}{folderName(f.Name), n, size})
		if err == nil {
			err = out.Row(body)
		}
		if err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	if im.bad > 0 {
		return control.Errorf(exitData, "%d messages cannot be read", im.bad)
	}
	return nil
}

func (im *importing) badOne(where string, err error) {
	im.bad++
	if im.bad <= 100 {
		fmt.Fprintf(im.app.errOut, "rookeryctl: %s is left out: %s\n", show.Clean(where), show.Clean(err.Error()))
	}
}

// send sends all folders and messages.
func (im *importing) send(flow *toolmsg.Flow, r foreign.Reader) error {
	folders, err := r.Folders()
	if err != nil {
		return control.Errorf(exitData, "%v", err)
	}
	buf := make([]byte, toolmsg.MaxData)
	for _, f := range folders {
		if f.Name == "" && im.to == "" && len(folders) > 1 && isEmpty(r, f) {
			continue // a top without mail of its own is no mailbox
		}
		if err := flow.Send(&toolmsg.Folder{Name: folderName(f.Name), Subscribed: f.Subscribed, UIDValidity: f.UIDValidity, UIDNext: f.UIDNext}); err != nil {
			return err
		}
		err := r.Read(f, func(m *foreign.Message) error {
			switch {
			case m.Err != nil:
				im.badOne(m.Where, m.Err)
				return nil
			case m.Size == 0:
				im.badOne(m.Where, errors.New("it is empty"))
				return nil
			}
			return sendMessage(flow, m, buf)
		})
		if err != nil {
			return err
		}
	}
	return flow.Send(&toolmsg.End{})
}

// folderName takes the endings away that files of whole folders have: a folder's
// file and the directory of those below it could not have the same name.
func folderName(name string) string {
	for _, end := range []string{".mbox", ".mbx"} {
		if base, ok := strings.CutSuffix(name, end); ok && base != "" && !strings.HasSuffix(base, "/") {
			return base
		}
	}
	return name
}

var errNotEmpty = errors.New("not empty")

func isEmpty(r foreign.Reader, f foreign.Folder) bool {
	return r.Read(f, func(*foreign.Message) error { return errNotEmpty }) == nil
}

func sendMessage(flow *toolmsg.Flow, m *foreign.Message, buf []byte) error {
	item := &toolmsg.Item{UID: m.UID, Flags: uint8(m.Flags), InternalDate: m.InternalDate, Size: m.Size}
	for _, k := range m.Keywords {
		if len(k) <= toolmsg.MaxKeyword && len(item.Keywords) < 256 {
			item.Keywords = append(item.Keywords, k)
		}
	}
	if err := flow.Send(item); err != nil {
		return err
	}
	for left := m.Size; left > 0; {
		n, err := io.ReadFull(m.Body, buf[:min(left, int64(len(buf)))])
		if err != nil {
			return control.Errorf(exitIO, "%s breaks off: %v", show.Clean(m.Where), err)
		}
		left -= int64(n)
		if err := flow.Send(&toolmsg.Data{Bytes: buf[:n], Last: left == 0}); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) exportCommand() *cobra.Command {
	names, texts := export.Formats()
	c, q := a.withQuery(&cobra.Command{Use: "export -u USER [-m MAILBOX] [--format F] DIR [KEY…]", Short: "Write a user's mail into files and folders",
		Long: "Write a user's mail into files and folders below DIR, which must not be there or be empty. Without keys all messages, and mailboxes without any too.\n\nFormats:" + formatHelp(names, texts)}, allBoxes)
	format := c.Flags().String("format", "maildir", "which format")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	c.ValidArgsFunction = nil
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return control.Errorf(control.ExitUsage, "where to? write: rookeryctl export -u USER DIR")
		}
		return a.runExport(q, *format, args[0], args[1:])
	}
	return c
}

func (a *app) runExport(q *query, format, dir string, keys []string) error {
	names, _ := export.Formats()
	if !slices.Contains(names, format) {
		return control.Errorf(control.ExitUsage, "there is no format %s; there are %s", show.Clean(format), strings.Join(names, ", "))
	}
	t, err := a.openTool(q.mailFlags)
	if err != nil {
		return err
	}
	defer t.Close()
	w, err := export.New(dir, format)
	if err != nil {
		return control.Errorf(control.ExitCantCreate, "%v", err)
	}
	ctx, stop := interruptible()
	defer stop()
	out := show.NewStream(a.out, a.json)
	meter := a.meter(q.mailFlags)
	s := exportSink{w: w}
	err = t.Do(ctx, request(toolmsg.Export, keys, q.options()...), tool.Sink{Line: out.Row, Progress: meter.show, Message: s.message})
	meter.clear()
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if s.left > 0 && err == nil {
		err = control.Errorf(control.ExitSoftware, "the last message breaks off")
	}
	if cerr := w.Close(); err == nil && cerr != nil {
		err = control.Errorf(exitIO, "%v", cerr)
	}
	return clean(err)
}

// exportSink writes what comes. It believes nothing: a message has as many
// octets as were announced, or the export fails.
type exportSink struct {
	w      export.Writer
	folder bool
	within bool  // a message
	left   int64 // octets of it
}

func (s *exportSink) message(m ipc.Message) error {
	bad := func(what string) error {
		return control.Errorf(control.ExitSoftware, "the process breaks the rules: %s", what)
	}
	var err error
	switch m := m.(type) {
	case *toolmsg.Folder:
		if s.within {
			return bad("a folder within a message")
		}
		s.folder = true
		err = s.w.Folder(m.Name, m.Subscribed)
	case *toolmsg.Item:
		if s.within || !s.folder || m.Size < 0 {
			return bad("a message within a message, without a folder or without a size")
		}
		f := mailstore.Flags(m.Flags)
		s.within, s.left = true, m.Size
		err = s.w.Begin(export.Message{UID: m.UID, Answered: f&mailstore.Answered != 0, Flagged: f&mailstore.Flagged != 0, Deleted: f&mailstore.Deleted != 0,
			Seen: f&mailstore.Seen != 0, Draft: f&mailstore.Draft != 0, Keywords: m.Keywords, InternalDate: m.InternalDate, Size: m.Size})
	case *toolmsg.Data:
		if s.left -= int64(len(m.Bytes)); !s.within || s.left < 0 || m.Last != (s.left == 0) {
			return bad("more or less octets than were announced")
		}
		if _, err = s.w.Write(m.Bytes); err == nil && m.Last {
			s.within = false
			err = s.w.End()
		}
	default:
		return bad(fmt.Sprintf("%T in an export", m))
	}
	if err != nil {
		return control.Errorf(control.ExitCantCreate, "%v", err)
	}
	return nil
}
