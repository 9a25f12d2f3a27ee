package mailtool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/ipc/toolmsg"
	"rookery/internal/mailstore"
	"rookery/internal/message"
)

// What one Commit adds at most, so that an import of any size needs bounded
// memory and loses little when it is cut short.
const (
	batchMessages = 200
	batchBytes    = 16 << 20
)

// importer puts the messages that come into mailboxes.
type importer struct {
	*call
	top      mailstore.Name // "" for the names as they come
	newOnly  bool
	keepUIDs bool
	last     mailstore.UID // that a message of this folder was given
	next     mailstore.UID // of this folder at the other server; 0: not known
	other    int           // messages of this folder that got another UID
	folder   mailstore.Name
	app      mailstore.Appender
	count    int
	bytes    int64
	done     int // of this folder, committed
	skipped  int // of this folder: there already
	total    int
	have     map[[32]byte]bool // what the folder held, if newOnly
	parser   message.Parser
	finished bool
}

// importMail takes Folders, Items and their Data until End. The first argument,
// if any, is the mailbox below which the folders go.
func importMail(c *call) error {
	im := &importer{call: c, newOnly: c.is("new-only"), keepUIDs: c.is("keep-uids")}
	if len(c.args) > 0 && c.args[0] != "" {
		top, err := c.name(c.args[0])
		if err != nil {
			return err
		}
		im.top = top
	}
	err := im.run()
	if im.app != nil {
		im.app.Abort()
	}
	if err != nil && im.folder != "" {
		err = fmt.Errorf("%s, %d messages in: %w (with --new-only the command can be given again)", c.shown(im.folder), im.done, err)
	}
	return err
}

func (im *importer) run() error {
	for !im.finished {
		m, _, err := im.flow.Next(im.ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *toolmsg.Folder:
			err = im.open(m)
		case *toolmsg.Item:
			err = im.add(m)
		case *toolmsg.End:
			im.finished, err = true, im.closeFolder()
		default:
			err = failf(exitSoftware, "rookeryctl sent %T in an import", m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open begins a folder.
func (im *importer) open(m *toolmsg.Folder) error {
	if err := im.closeFolder(); err != nil {
		return err
	}
	n, err := im.place(m.Name)
	if err != nil {
		return err
	}
	im.touched = true
	if _, err := im.store.Create(n, 0); err != nil && !errkind.Is(err, errkind.Exists) && !(n == imapname.Inbox && errkind.Is(err, errkind.Invalid)) {
		return err
	}
	if m.Subscribed {
		if err := im.store.Subscribe(n, true); err != nil {
			return err
		}
	}
	im.folder, im.done, im.skipped, im.last, im.next, im.other = n, 0, 0, 0, 0, 0
	if im.keepUIDs {
		return im.identify(n, m)
	}
	if im.newOnly {
		return im.remember()
	}
	return nil
}

// identify makes an empty mailbox the one that clients know from another server, as
// far as the source says what that was.
func (im *importer) identify(n mailstore.Name, m *toolmsg.Folder) error {
	st, err := im.store.Status(n, mailstore.StatusWant{})
	if err != nil {
		return err
	}
	if st.Messages > 0 {
		return failf(exitCreate, "%s has messages: UIDs can be kept in an empty mailbox alone", im.shown(n))
	}
	if m.UIDValidity == 0 {
		im.last = st.UIDNext - 1
		return nil
	}
	r, ok := find[mailstore.Restorer](im.store)
	if !ok {
		return lacks("take over UIDs")
	}
	im.next = m.UIDNext
	return r.Restore(n, mailstore.Identity{UIDValidity: m.UIDValidity, UIDNext: 1, GUID: st.GUID, HighestModSeq: st.HighestModSeq})
}

// place says where a folder goes: below the mailbox that was named, or, without
// one, where its name says; the store's own top is INBOX.
func (im *importer) place(name string) (mailstore.Name, error) {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	if im.top != "" {
		parts = append([]string{im.top}, parts...)
	} else if len(parts) == 0 {
		return imapname.Inbox, nil
	}
	n, err := imapname.Parse(strings.Join(parts, "/"), true)
	if err != nil {
		return "", failf(exitData, "the folder %q cannot be a mailbox here: %w", name, err)
	}
	return string(n), nil
}

// remember notes what the folder holds, so that it is not added again.
func (im *importer) remember() error {
	im.have = map[[32]byte]bool{}
	box, snap, err := mailstore.Look(im.store, im.folder)
	if err != nil {
		return err
	}
	defer box.Close()
	for i := range snap.Len() {
		if err := im.progress("looking at "+im.shown(im.folder), i, snap.Len()); err != nil {
			return err
		}
		msg, err := box.Message(snap.At(i).UID)
		if err != nil {
			continue // gone, or not to be read: then it is no reason to leave one out
		}
		sum, err := fingerprint(msg, msg.Size(), &im.parser)
		msg.Close()
		if err == nil {
			im.have[sum] = true
		}
	}
	return nil
}

// maxHeader is how much of a message tells whether it is the same one.
const maxHeader = 256 << 10

// fingerprint names a message by its size and header.
func fingerprint(r io.ReaderAt, size int64, parser *message.Parser) (sum [32]byte, err error) {
	head, err := parser.ParseHeader(r, size, message.DefaultLimits())
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", size)
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, min(head.Header().End, maxHeader))); err != nil {
		return sum, err
	}
	return [32]byte(h.Sum(nil)), nil
}

// add takes one message. With newOnly its beginning is kept until it is certain
// that it is new.
func (im *importer) add(m *toolmsg.Item) error {
	if im.folder == "" {
		return failf(exitSoftware, "rookeryctl sent a message before its folder")
	}
	body := &incoming{im: im}
	if im.newOnly {
		held, err := io.ReadAll(io.LimitReader(body, maxHeader+1))
		if err != nil {
			return err
		}
		sum, err := fingerprint(strings.NewReader(string(held)), m.Size, &im.parser)
		if err == nil && im.have[sum] {
			im.skipped++
			return body.drain()
		}
		im.have[sum] = true
		body.held = held
	}
	if im.app == nil {
		app, err := im.store.Append(im.folder)
		if err != nil {
			return err
		}
		im.app = app
	}
	meta := mailstore.AppendMeta{Flags: mailstore.Flags(m.Flags) & mailstore.AllFlags, Keywords: m.Keywords, InternalDate: m.InternalDate}
	if im.keepUIDs {
		switch {
		case m.UID > im.last:
			meta.UID, im.last = m.UID, m.UID
		case im.last > 0:
			im.last++
			meta.UID = im.last
			fallthrough
		default:
			im.other++
		}
	}
	w, err := im.app.Add(meta, m.Size)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, body)
	if err != nil {
		return err
	}
	im.count++
	if im.bytes += n; im.count >= batchMessages || im.bytes >= batchBytes {
		return im.commit()
	}
	return nil
}

func (im *importer) commit() error {
	if im.app == nil {
		return nil
	}
	app := im.app
	im.app = nil
	r, err := app.Commit()
	if err != nil {
		app.Abort()
		return err
	}
	im.done += len(r.UIDs)
	im.total += len(r.UIDs)
	im.count, im.bytes = 0, 0
	return im.progress("importing into "+im.shown(im.folder), im.total, 0)
}

func (im *importer) closeFolder() error {
	if im.folder == "" {
		return nil
	}
	if err := im.commit(); err != nil {
		return err
	}
	if im.next > 0 {
		if err := raiseNext(im.store, im.folder, im.next); err != nil {
			return err
		}
	}
	var o ordered
	o.add("mailbox", im.shown(im.folder))
	o.add("imported", im.done)
	if im.keepUIDs {
		o.add("new_uids", im.other)
	}
	if im.newOnly {
		o.add("there_already", im.skipped)
	}
	im.folder = ""
	return im.line(o)
}

// incoming is a message's Data, as a reader.
type incoming struct {
	im   *importer
	held []byte // what was read ahead
	data []byte
	last bool
}

func (b *incoming) Read(p []byte) (int, error) {
	if len(b.held) > 0 {
		n := copy(p, b.held)
		b.held = b.held[n:]
		return n, nil
	}
	for len(b.data) == 0 {
		if b.last {
			return 0, io.EOF
		}
		m, _, err := b.im.flow.Next(b.im.ctx)
		if errors.Is(err, io.EOF) {
			return 0, io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		d, ok := m.(*toolmsg.Data)
		if !ok {
			return 0, failf(exitSoftware, "rookeryctl sent %T within a message", m)
		}
		b.data, b.last = d.Bytes, d.Last
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

func (b *incoming) drain() error {
	_, err := io.Copy(io.Discard, b)
	return err
}
