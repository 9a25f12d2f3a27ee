package mailtool

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"rookery/internal/child"
	"rookery/internal/ipc"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/ipc/workermsg"
	"rookery/internal/mailstore"
	"rookery/internal/sandbox"
	"rookery/internal/settings"
	"rookery/internal/vfs"
	"rookery/internal/worker"
)

// Main runs the tool and gives its exit code.
func Main() int {
	return worker.Main(worker.Program{Role: child.MailTool, Protocol: "imap", Sandbox: sandbox.MailTool, Settings: settings.RoleIMAP, Tool: run})
}

// run serves the channel on a user's store.
func run(ctx context.Context, host *worker.Host, channel int) error {
	flow, err := toolmsg.NewFlow(channel, ipc.FromClient)
	if err != nil {
		return err
	}
	defer flow.Close()
	s := &service{flow: flow, user: host.User.User, home: hostHome{host}, changed: host.Changed, tell: host.Publish, now: time.Now, uidl: uidlOf(host.Settings)}
	return s.serve(ctx)
}

// uidlOf gives a message's POP3 UIDL as the settings have it.
func uidlOf(set *settings.Set) func(uidlVars) (string, error) {
	format := settings.POP3UIDLFormat.Get(set)
	return func(v uidlVars) (string, error) {
		if format.Uses("md5") {
			return "", failf(exitUsage, "UIDLs are not compared where pop3_uidl_format has %%{md5}")
		}
		return format.Expand(settings.Vars{"uid": strconv.FormatUint(uint64(v.uid), 10), "uidvalidity": strconv.FormatUint(uint64(v.validity), 10),
			"filename": v.filename, "guid": v.guid})
	}
}

// home is where a service gets the user's stores from.
type home interface {
	// Open opens the user's mail as the settings have it.
	Open() (mailstore.Store, error)
	// Place says where that is.
	Place() (worker.Place, error)
	// OpenPlace opens the bare store of a place.
	OpenPlace(worker.Place) (mailstore.Store, error)
	// Controls gives the files of conversions.
	Controls() (controls, error)
}

// inspector is a home that can be looked at without opening it.
type inspector interface {
	// Dry gives the same mail, whose changes stay in memory.
	Dry() home
	// Inspect looks at what opening the mail mends by itself; see worker.Host.
	Inspect(repair bool, found func(mailstore.Finding)) error
}

type hostHome struct{ *worker.Host }

func (h hostHome) Open() (mailstore.Store, error) { return h.OpenStore("imap") }

func (h hostHome) Dry() home { return hostHome{h.Host.Dry()} }

func (h hostHome) Controls() (controls, error) {
	tops, err := h.Tops()
	return controls{h.FS(), tops}, err
}

// service serves one channel.
type service struct {
	flow    *toolmsg.Flow
	user    string
	home    home
	changed func()                      // tells the user's other processes
	tell    func([]workermsg.Published) // tells the list of shares
	now     func() time.Time
	store   mailstore.Store // nil until a request needs it
	conv    *converting     // of convert alone
	uidl    func(uidlVars) (string, error)
	reloc   vfs.File // of relocate alone: the lock
}

// serve answers requests until rookeryctl goes.
func (s *service) serve(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	// Long work ends when nobody waits for it any more.
	defer s.flow.Gone(func() { stop(io.EOF) })()
	defer s.end()
	for {
		m, _, err := s.flow.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err // a bad message from above is fatal
		}
		r, ok := m.(*toolmsg.Request)
		if !ok {
			continue // what is left of an Import that ended early
		}
		if err := s.flow.Send(done(s.answer(ctx, r))); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// end gives up all.
func (s *service) end() {
	if s.conv != nil {
		s.conv.close()
	}
	if s.reloc != nil {
		s.reloc.Close()
	}
	s.close()
}

func (s *service) close() {
	if s.store != nil {
		s.store.Close()
		s.store = nil
	}
}

// answer runs one request.
func (s *service) answer(ctx context.Context, r *toolmsg.Request) error {
	v, ok := verbs()[r.Verb]
	if !ok {
		return failf(exitSoftware, "rookery-mailtool does not know %q", r.Verb)
	}
	c, err := newCall(ctx, s, r)
	if err != nil {
		return err
	}
	if n := len(c.args); n < v.need || n > v.args {
		return failf(exitUsage, "%s takes %d to %d arguments, %d were given", r.Verb, v.need, v.args, n)
	}
	if s.store == nil && !v.alone {
		if s.store, err = s.home.Open(); err != nil {
			return err
		}
	}
	err = v.run(c)
	if c.touched {
		s.changed()
		if v.names {
			s.republish()
		}
	}
	return err
}

// verb is one thing that can be asked for.
type verb struct {
	need, args int // arguments, at least and at most
	run        func(*call) error
	alone      bool // it opens the stores that it needs itself
	names      bool // it may change names of mailboxes, or who may see them
}

func verbs() map[string]verb {
	return map[string]verb{
		toolmsg.List:        {need: 0, args: toolmsg.MaxArgs, run: list},
		toolmsg.Status:      {need: 0, args: toolmsg.MaxArgs, run: status},
		toolmsg.Create:      {need: 1, args: toolmsg.MaxArgs, run: create, names: true},
		toolmsg.Delete:      {need: 1, args: toolmsg.MaxArgs, run: remove, names: true},
		toolmsg.Rename:      {need: 2, args: 2, run: rename, names: true},
		toolmsg.Subscribe:   {need: 1, args: toolmsg.MaxArgs, run: subscribe},
		toolmsg.Unsubscribe: {need: 1, args: toolmsg.MaxArgs, run: unsubscribe},
		toolmsg.Restored:    {need: 0, args: toolmsg.MaxArgs, run: restored},
		toolmsg.Search:      {need: 0, args: toolmsg.MaxArgs, run: search},
		toolmsg.Fetch:       {need: 0, args: toolmsg.MaxArgs, run: fetch},
		toolmsg.Flags:       {need: 2, args: toolmsg.MaxArgs, run: flags},
		toolmsg.Expunge:     {need: 0, args: toolmsg.MaxArgs, run: expunge},
		toolmsg.Copy:        {need: 1, args: toolmsg.MaxArgs, run: copyMail},
		toolmsg.Move:        {need: 1, args: toolmsg.MaxArgs, run: moveMail},
		toolmsg.Import:      {need: 0, args: 1, run: importMail, names: true},
		toolmsg.Export:      {need: 0, args: toolmsg.MaxArgs, run: export},
		toolmsg.Index:       {need: 0, args: toolmsg.MaxArgs, run: index},
		toolmsg.Verify:      {need: 0, args: toolmsg.MaxArgs, run: verify, alone: true},
		toolmsg.Purge:       {need: 0, args: 0, run: purge},
		toolmsg.Quota:       {need: 0, args: 0, run: quota},
		toolmsg.Undelete:    {need: 0, args: 0, run: undelete, names: true},
		toolmsg.Convert:     {need: 0, args: 1, run: convert, alone: true},
		toolmsg.Relocate:    {need: 0, args: 0, run: relocate, alone: true},
		toolmsg.Adopt:       {need: 0, args: 0, run: adopt, names: true},
		toolmsg.Share:       {need: 1, args: toolmsg.MaxArgs, run: share, names: true},
		toolmsg.Unshare:     {need: 1, args: toolmsg.MaxArgs, run: unshare, names: true},
		toolmsg.Shares:      {need: 0, args: toolmsg.MaxArgs, run: shares},
		toolmsg.Publish:     {need: 0, args: 0, run: publish},
	}
}
