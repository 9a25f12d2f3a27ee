package mailtool

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
)

// adopt looks at a store that another server has kept, as this one would serve
// it, and compares it with what that server tells of it, if rookeryctl passes a
// connection to it (option against, and against-pop3 for its POP3 side; the streams
// come in this order). The exit code is 65 if a client would
// notice a difference.
func adopt(c *call) error {
	all, err := c.store.List()
	if err != nil {
		return err
	}
	var old *otherServer
	if c.is("against") {
		if old, err = c.otherServer(); err != nil {
			return err
		}
		defer old.close()
	}
	differ := 0
	boxes := openable(all)
	for i, f := range boxes {
		if err := c.progress("looking", i, len(boxes)); err != nil {
			return err
		}
		n, err := c.adoptOne(f.Name, old)
		if err != nil {
			return fmt.Errorf("%s: %w", c.shown(f.Name), err)
		}
		differ += n
	}
	if old != nil {
		n, err := c.adoptRest(boxes, old)
		if err != nil {
			return err
		}
		differ += n
	}
	if c.is("against-pop3") {
		n, err := c.adoptUIDLs()
		if err != nil {
			return err
		}
		differ += n
	}
	if differ > 0 {
		return failf(exitData, "%d differences: clients would notice", differ)
	}
	return nil
}

// maxDifferences are told of each mailbox.
const maxDifferences = 20

func (c *call) adoptOne(n mailstore.Name, old *otherServer) (int, error) {
	box, snap, err := mailstore.Look(c.store, n)
	if err != nil {
		return 0, err
	}
	defer box.Close()
	info := box.Info()
	var o ordered
	o.add("mailbox", c.shown(n))
	o.add("messages", snap.Len())
	o.add("uidvalidity", info.UIDValidity)
	o.add("uidnext", snap.UIDNext())
	o.add("keywords", strings.Join(box.Keywords(), " "))
	var diffs []string
	if old != nil {
		if diffs, err = old.compare(n, info, snap); err != nil {
			return 0, err
		}
		o.add("same", len(diffs) == 0)
	}
	if len(diffs) > 0 {
		shown := diffs[:min(len(diffs), maxDifferences)]
		o.add("differences", shown)
	}
	return len(diffs), c.line(o)
}

// adoptRest tells of mailboxes and subscriptions that only one side has.
func (c *call) adoptRest(boxes []mailstore.Folder, old *otherServer) (int, error) {
	var diffs []string
	for n := range old.boxes {
		if !slices.ContainsFunc(boxes, func(f mailstore.Folder) bool { return f.Name == n }) {
			diffs = append(diffs, fmt.Sprintf("the other server has a mailbox %s", c.shown(n)))
		}
	}
	subs, err := c.store.Subscriptions()
	if err != nil {
		return 0, err
	}
	for _, n := range subs {
		if !old.subs[n] {
			diffs = append(diffs, fmt.Sprintf("%s is subscribed here alone", c.shown(n)))
		}
	}
	for n := range old.subs {
		if !slices.Contains(subs, n) {
			diffs = append(diffs, fmt.Sprintf("%s is subscribed at the other server alone", c.shown(n)))
		}
	}
	slices.Sort(diffs)
	for _, d := range diffs {
		if err := c.line(map[string]any{"mailbox": "", "same": false, "differences": []string{d}}); err != nil {
			return 0, err
		}
	}
	return len(diffs), nil
}

// otherServer is the server that the mail comes from.
type otherServer struct {
	c     *imapClient
	file  *os.File
	boxes map[mailstore.Name]string // how that server writes the name
	subs  map[mailstore.Name]bool
}

// otherTimeout bounds each wait for the other server.
const otherTimeout = 5 * time.Minute

// otherServer takes the stream that follows the request.
func (c *call) otherServer() (*otherServer, error) {
	m, fd, err := c.flow.Next(c.ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := m.(*toolmsg.Stream); !ok {
		return nil, failf(exitSoftware, "rookeryctl sent %T in place of the stream", m)
	}
	file := os.NewFile(uintptr(fd), "the other server")
	context.AfterFunc(c.ctx, func() { file.Close() })
	old := &otherServer{c: newIMAPClient(timed{file}), file: file, boxes: map[mailstore.Name]string{}, subs: map[mailstore.Name]bool{}}
	if err := old.names(); err != nil {
		old.close()
		return nil, err
	}
	return old, nil
}

func (o *otherServer) close() { o.file.Close() }

// timed gives up on a server that is silent.
type timed struct{ f *os.File }

func (t timed) Read(p []byte) (int, error) {
	if err := t.f.SetReadDeadline(time.Now().Add(otherTimeout)); err != nil {
		return 0, err
	}
	return t.f.Read(p)
}

func (t timed) Write(p []byte) (int, error) { return t.f.Write(p) }

// maxNames bounds how many mailboxes another server may have.
const maxNames = 200_000

func (o *otherServer) names() error {
	take := func(put func(mailstore.Name, string, bool)) func([]token) error {
		return func(all []token) error {
			if len(all) != 4 || all[0].word() != "LIST" && all[0].word() != "LSUB" || !all[1].isList {
				return nil
			}
			d := imapname.Dialect{}
			if sep := all[2].text; len(sep) == 1 {
				d.Separator = sep[0]
			}
			n, err := d.Parse(all[3].text, false)
			if err != nil {
				return nil // it cannot be here either; nobody can adopt it
			}
			noselect := slices.ContainsFunc(all[1].list, func(t token) bool {
				return strings.EqualFold(t.text, `\Noselect`) || strings.EqualFold(t.text, `\NonExistent`)
			})
			put(string(n), all[3].text, noselect)
			if len(o.boxes) > maxNames || len(o.subs) > maxNames {
				return errkind.Newf("list", errkind.Limit, "the other server has too many mailboxes")
			}
			return nil
		}
	}
	if err := o.c.do(`LIST "" "*"`, take(func(n mailstore.Name, wire string, noselect bool) {
		if !noselect {
			o.boxes[n] = wire
		}
	})); err != nil {
		return err
	}
	return o.c.do(`LSUB "" "*"`, take(func(n mailstore.Name, _ string, noselect bool) {
		if !noselect {
			o.subs[n] = true
		}
	}))
}

// compare gives what a client would find different in a mailbox.
func (o *otherServer) compare(n mailstore.Name, info mailstore.Info, snap mailstore.Snapshot) (diffs []string, err error) {
	wire, ok := o.boxes[n]
	if !ok {
		if snap.Len() == 0 {
			return nil, nil // one of the settings, made here when it is used
		}
		return []string{"the other server does not have it"}, nil
	}
	var validity, next uint32
	err = o.c.do("EXAMINE "+quote(wire), func(all []token) error {
		for _, t := range all {
			if t.isList && len(t.list) == 2 {
				switch t.list[0].word() {
				case "UIDVALIDITY":
					validity = t.list[1].number()
				case "UIDNEXT":
					next = t.list[1].number()
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if validity != info.UIDValidity {
		return []string{fmt.Sprintf("UIDVALIDITY is %d here, %d there", info.UIDValidity, validity)}, nil
	}
	if next > snap.UIDNext() {
		diffs = append(diffs, fmt.Sprintf("UIDNEXT is %d here, %d there", snap.UIDNext(), next))
	}
	more, err := o.compareMessages(snap)
	return append(diffs, more...), err
}

func (o *otherServer) compareMessages(snap mailstore.Snapshot) (diffs []string, err error) {
	there := make(map[mailstore.UID]string, snap.Len())
	err = o.c.do("UID FETCH 1:* (FLAGS)", func(all []token) error {
		if len(all) < 3 || all[1].word() != "FETCH" || !all[2].isList {
			return nil
		}
		uid, flags := uint32(0), ""
		for i := 0; i+1 < len(all[2].list); i += 2 {
			switch v := all[2].list[i+1]; all[2].list[i].word() {
			case "UID":
				uid = v.number()
			case "FLAGS":
				flags = flagText(v.list)
			}
		}
		if uid > 0 {
			there[uid] = flags
		}
		if len(there) > 2*snap.Len()+maxNames {
			return errkind.Newf("fetch", errkind.Limit, "the other server has far more messages")
		}
		return nil
	})
	if err != nil && len(there) == 0 && snap.Len() == 0 {
		err = nil // some servers answer NO or BAD in an empty mailbox
	}
	if err != nil {
		return nil, err
	}
	for i := range snap.Len() {
		e := snap.At(i)
		was, ok := there[e.UID]
		delete(there, e.UID)
		var words []token
		for _, w := range strings.Fields(wordsOf(e.Flags, snap.Keywords(e.Keywords))) {
			words = append(words, token{text: w})
		}
		switch is := flagText(words); {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("UID %d is here alone", e.UID))
		case is != was:
			diffs = append(diffs, fmt.Sprintf("UID %d has the flags (%s) here, (%s) there", e.UID, is, was))
		}
	}
	var missing []mailstore.UID
	for uid := range there {
		missing = append(missing, uid)
	}
	slices.Sort(missing)
	for _, uid := range missing {
		diffs = append(diffs, fmt.Sprintf("UID %d is missing here", uid))
	}
	return diffs, nil
}

// flagText makes flags comparable: without \Recent, without case, sorted.
func flagText(list []token) string {
	var out []string
	for _, t := range list {
		if w := strings.ToLower(t.text); w != `\recent` {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
