package mailtool

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/mailstore/held"
	"rookery/internal/numset"
)

// replica makes one store the same as another, again and again until they are:
// same mailboxes with the same UIDVALIDITY, GUID and UIDNEXT; same messages with
// the same UIDs, flags, keywords, dates, GUIDs and UIDLs.
//
// A message is added with its UID, so a part of a copy is always right as far
// as it goes, and the next run goes on behind it. What changed in the source
// meanwhile (flags, expunges, mailboxes) is done again in the target.
type replica struct {
	*call
	from, to mailstore.Store
	restorer mailstore.Restorer // of to
	copied   int
	checked  map[mailstore.GUID]mailstore.UID // up to which UID the octets were compared
	left     map[mailstore.Name]bool          // hidden mailboxes that the target's format cannot have
	strips   bool                             // the target's format keeps metadata headers for itself: see strip.go
	stripped int                              // messages that lost some
}

// allFacts is what a conversion keeps.
var allFacts = mailstore.FactsWant{Size: true, InternalDate: true, SaveDate: true, GUID: true, UIDL: true}

// run brings the target up to date.
func (r *replica) run() error {
	all, err := r.from.List()
	if err != nil {
		return err
	}
	there := map[mailstore.Name]bool{}
	for _, f := range openable(all) {
		there[f.Name] = true
	}
	if err := r.drop(there); err != nil {
		return err
	}
	for _, f := range openable(all) {
		err := r.mailbox(f.Name)
		switch {
		case errkind.Is(err, errkind.Invalid) && r.hidden(f.Name): // expunged messages that wait; the user has no others
			r.left[f.Name] = true
		case err != nil && !(errkind.Is(err, errkind.NotFound) && r.gone(f.Name)): // the next run sees it
			return fmt.Errorf("%s: %w", r.shown(f.Name), err)
		}
	}
	return r.subscriptions()
}

// gone reports whether the source does not have a mailbox any more.
func (r *replica) gone(n mailstore.Name) bool {
	_, err := r.from.Status(n, mailstore.StatusWant{})
	return errkind.Is(err, errkind.NotFound)
}

// hidden reports whether a mailbox holds expunged messages for undelete.
func (r *replica) hidden(n mailstore.Name) bool {
	all := r.from.Namespaces()
	return len(all) > 0 && held.Hides(held.RootOf(all[0]), n)
}

// drop takes mailboxes away that the source does not have any more.
func (r *replica) drop(keep map[mailstore.Name]bool) error {
	have, err := r.to.List()
	if err != nil {
		return err
	}
	have = openable(have)
	slices.Reverse(have) // children first
	for _, f := range have {
		if keep[f.Name] || f.Name == "INBOX" {
			continue
		}
		if err := r.to.Delete(f.Name); err != nil && !errkind.Is(err, errkind.NotFound) {
			return err
		}
	}
	return nil
}

func (r *replica) subscriptions() error {
	want, err := r.from.Subscriptions()
	if err != nil {
		return err
	}
	have, err := r.to.Subscriptions()
	if err != nil {
		return err
	}
	for _, n := range want {
		if !slices.Contains(have, n) {
			if err := r.to.Subscribe(n, true); err != nil {
				return err
			}
		}
	}
	for _, n := range have {
		if !slices.Contains(want, n) {
			if err := r.to.Subscribe(n, false); err != nil && !errkind.Is(err, errkind.NotFound) {
				return err
			}
		}
	}
	return nil
}

// pair is one mailbox in both stores.
type pair struct {
	src, dst   mailstore.Mailbox
	have, want mailstore.Snapshot // of dst, of src
}

func (p *pair) close() {
	if p.src != nil {
		p.src.Close()
	}
	if p.dst != nil {
		p.dst.Close()
	}
}

func openPair(from, to mailstore.Store, n mailstore.Name) (p *pair, err error) {
	p = &pair{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.src, err = from.Open(n); err != nil {
		return p, err
	}
	if p.dst, err = to.Open(n); err != nil {
		return p, err
	}
	if p.want, err = p.src.Sync(); err != nil {
		return p, err
	}
	p.have, err = p.dst.Sync()
	return p, err
}

func (r *replica) mailbox(n mailstore.Name) error {
	if err := r.identify(n); err != nil {
		return err
	}
	p, err := r.pair(n)
	if err != nil {
		return err
	}
	defer p.close()
	if err := r.expunge(p); err != nil {
		return err
	}
	if err := r.flags(p); err != nil {
		return err
	}
	if err := r.add(n, p); err != nil {
		return err
	}
	if err := r.rights(n); err != nil {
		return err
	}
	return r.next(n, p)
}

// rights gives a mailbox its access control list, as far as both formats keep such.
func (r *replica) rights(n mailstore.Name) error {
	from, ok := mailstore.ACLs(r.from)
	to, kept := mailstore.ACLs(r.to)
	if !ok || !kept || r.hidden(n) {
		return nil
	}
	list, err := from.ACL(n)
	if err != nil {
		return err
	}
	return to.EditACL(n, func(acl.List) (acl.List, error) { return list, nil })
}

// identify makes the mailbox in the target with the source's identity. One of
// another identity is begun anew.
func (r *replica) identify(n mailstore.Name) error {
	src, err := r.from.Status(n, mailstore.StatusWant{})
	if err != nil {
		return err
	}
	dst, err := r.to.Status(n, mailstore.StatusWant{})
	if err != nil && !errkind.Is(err, errkind.NotFound) && !errkind.Is(err, errkind.Invalid) {
		return err
	}
	if err == nil && dst.UIDValidity == src.UIDValidity && dst.GUID == src.GUID && dst.UIDNext <= src.UIDNext {
		return nil
	}
	if err != nil || dst.Messages == 0 && n == "INBOX" {
		return r.restore(n, src)
	}
	return r.anew(n)
}

// pair opens a mailbox in both stores; a copy that cannot go on is begun anew.
func (r *replica) pair(n mailstore.Name) (*pair, error) {
	p, err := openPair(r.from, r.to, n)
	if err != nil || !p.gapped() {
		return p, err
	}
	p.close()
	if err := r.anew(n); err != nil {
		return nil, err
	}
	return openPair(r.from, r.to, n)
}

// gapped reports whether the target lacks a message whose UID it cannot give any
// more: a crash may leave UIDs out.
func (p *pair) gapped() bool {
	for i := range p.want.Len() {
		uid := p.want.At(i).UID
		if uid >= p.have.UIDNext() {
			break
		}
		if _, ok := p.have.Find(uid); !ok {
			return true
		}
	}
	return false
}

// anew empties a mailbox of the target and gives it the source's identity.
func (r *replica) anew(n mailstore.Name) error {
	src, err := r.from.Status(n, mailstore.StatusWant{})
	if err != nil {
		return err
	}
	if err := r.wipe(n); err != nil {
		return err
	}
	delete(r.checked, src.GUID)
	return r.restore(n, src)
}

func (r *replica) restore(n mailstore.Name, src mailstore.Status) error {
	// UIDs ascend: the next one becomes the source's once the messages are there.
	return r.restorer.Restore(n, mailstore.Identity{UIDValidity: src.UIDValidity, UIDNext: 1, GUID: src.GUID, HighestModSeq: src.HighestModSeq})
}

// wipe empties a mailbox of the target, or takes it away.
func (r *replica) wipe(n mailstore.Name) error {
	if n != "INBOX" {
		if err := r.to.Delete(n); !errkind.Is(err, errkind.NotFound) {
			return err
		}
		return nil
	}
	box, snap, err := mailstore.Look(r.to, n)
	if err != nil {
		return err
	}
	defer box.Close()
	if snap.Len() == 0 {
		return nil
	}
	_, err = box.Expunge(uidsOf(snap))
	return err
}

func uidsOf(s mailstore.Snapshot) numset.Set {
	uids := make([]uint32, s.Len())
	for i := range uids {
		uids[i] = s.At(i).UID
	}
	return numset.FromSorted(uids)
}

// expunge takes from the target what the source has no more.
func (r *replica) expunge(p *pair) error {
	gone := uidsOf(p.have).Minus(uidsOf(p.want))
	if gone.Empty() {
		return nil
	}
	if _, err := p.dst.Expunge(gone); err != nil {
		return err
	}
	var err error
	p.have, err = p.dst.Sync()
	return err
}

// flags gives the target's messages the source's flags where they differ.
func (r *replica) flags(p *pair) error {
	for i := range p.have.Len() {
		h := p.have.At(i)
		pos, ok := p.want.Find(h.UID)
		if !ok {
			continue
		}
		w := p.want.At(pos)
		names := p.want.Keywords(w.Keywords)
		if h.Flags == w.Flags && sameWords(p.have.Keywords(h.Keywords), names) {
			continue
		}
		if _, err := p.dst.Store(mailstore.FlagChange{UIDs: numset.Of(h.UID), Op: mailstore.SetFlags, Flags: w.Flags, Keywords: slices.Clone(names)}); err != nil {
			return err
		}
	}
	return nil
}

// sameWords compares two sets of keywords.
func sameWords(a, b []string) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// add copies the messages that the target lacks, in the order of UIDs, and
// compares what came out with the source.
func (r *replica) add(n mailstore.Name, p *pair) error {
	var todo []mailstore.Entry
	for i := range p.want.Len() {
		e := p.want.At(i)
		if _, ok := p.have.Find(e.UID); !ok {
			todo = append(todo, e)
		}
	}
	// \Recent is nothing that can be given: what is no more recent in the source
	// is claimed in the target before the rest comes.
	recent, err := p.src.ClaimRecent(true)
	if err != nil {
		return err
	}
	first := len(todo)
	if i := slices.IndexFunc(todo, func(e mailstore.Entry) bool { return e.UID >= recent.Min() }); i >= 0 && !recent.Empty() {
		first = i
	}
	if err := r.addAll(n, p, todo[:first]); err != nil {
		return err
	}
	if first > 0 || recent.Empty() {
		if _, err := p.dst.ClaimRecent(false); err != nil {
			return err
		}
	}
	if err := r.addAll(n, p, todo[first:]); err != nil {
		return err
	}
	return r.compareFrom(n, p)
}

func (r *replica) addAll(n mailstore.Name, p *pair, todo []mailstore.Entry) error {
	for done := 0; done < len(todo); {
		if err := r.progress("copying "+r.shown(n), done, len(todo)); err != nil {
			return err
		}
		k, err := r.batch(n, p, todo[done:])
		if err != nil {
			return err
		}
		done += k
	}
	return nil
}

// batch adds some messages and gives how many of todo it has dealt with. One
// that was expunged meanwhile is left out.
func (r *replica) batch(n mailstore.Name, p *pair, todo []mailstore.Entry) (int, error) {
	app, err := r.to.Append(n)
	if err != nil {
		return 0, err
	}
	defer app.Abort()
	size, added, dealt := int64(0), 0, 0
	for _, e := range todo {
		if dealt >= batchMessages || size >= batchBytes {
			break
		}
		dealt++
		k, err := r.one(app, p, e)
		if errkind.Is(err, errkind.Expunged) && k == 0 {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("message %d: %w", e.UID, err)
		}
		size += k
		added++
	}
	if added == 0 {
		return dealt, nil
	}
	if _, err := app.Commit(); err != nil {
		return 0, err
	}
	r.copied += added
	return dealt, nil
}

func (r *replica) one(app mailstore.Appender, p *pair, e mailstore.Entry) (int64, error) {
	facts, err := p.src.Facts(e.UID, allFacts)
	if err != nil {
		return 0, err
	}
	msg, err := p.src.Message(e.UID)
	if err != nil {
		return 0, err
	}
	defer msg.Close()
	w, err := app.Add(mailstore.AppendMeta{Flags: e.Flags, Keywords: slices.Clone(p.want.Keywords(e.Keywords)), InternalDate: facts.InternalDate,
		SaveDate: facts.SaveDate, GUID: facts.GUID, UID: e.UID, UIDL: facts.UIDL, Order: facts.Order}, msg.Size())
	if err != nil {
		return 0, err
	}
	return io.Copy(w, io.NewSectionReader(msg, 0, msg.Size()))
}

// compareFrom compares the octets of messages that were not compared yet.
func (r *replica) compareFrom(n mailstore.Name, p *pair) error {
	have, err := p.dst.Sync()
	if err != nil {
		return err
	}
	p.have = have
	guid := p.dst.Info().GUID
	for i := range have.Len() {
		uid := have.At(i).UID
		if uid <= r.checked[guid] {
			continue
		}
		if err := r.progress("checking "+r.shown(n), i, have.Len()); err != nil {
			return err
		}
		if err := r.sameOctets(p, uid); err != nil && !errkind.Is(err, errkind.Expunged) {
			return err
		}
		r.checked[guid] = uid
	}
	return nil
}

// errDiffers is a copy that is not the same.
var errDiffers = errors.New("the copy differs")

func differ(uid mailstore.UID, what string, was, is any) error {
	return failf(exitData, "message %d: %s is %v, was %v: %w; nothing was switched", uid, what, is, was, errDiffers)
}

// next raises the target's UIDNEXT to the source's.
func (r *replica) next(n mailstore.Name, p *pair) error {
	return raiseNext(r.to, n, p.want.UIDNext())
}

// raiseNext makes want a mailbox's UIDNEXT, if it is lower: by a message with the
// last UID that was given, which goes at once. Its UID was given by another server or
// in another format, too, to a message that is gone.
func raiseNext(s mailstore.Store, n mailstore.Name, want mailstore.UID) error {
	st, err := s.Status(n, mailstore.StatusWant{})
	if err != nil || st.UIDNext >= want {
		return err
	}
	app, err := s.Append(n)
	if err != nil {
		return err
	}
	defer app.Abort()
	text := "Subject: this message holds the place of one that is gone\r\n\r\n"
	w, err := app.Add(mailstore.AppendMeta{UID: want - 1, Flags: mailstore.Deleted}, int64(len(text)))
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		_, err = app.Commit()
	}
	if err != nil {
		return err
	}
	box, err := innermost(s).Open(n) // not to be held for undelete
	if err != nil {
		return err
	}
	defer box.Close()
	if _, err := box.Sync(); err != nil {
		return err
	}
	_, err = box.Expunge(numset.Of(want - 1))
	return err
}

// check compares all but the octets, of everything. Both stores are at rest.
func (r *replica) check() (mailboxes, messages int, err error) {
	a, err := r.from.List()
	if err != nil {
		return 0, 0, err
	}
	b, err := r.to.List()
	if err != nil {
		return 0, 0, err
	}
	names := func(all []mailstore.Folder) (out []string) {
		for _, f := range openable(all) {
			out = append(out, f.Name)
		}
		return out
	}
	want := slices.DeleteFunc(names(a), func(n mailstore.Name) bool { return r.left[n] })
	if have := names(b); !slices.Equal(want, have) {
		return 0, 0, failf(exitData, "the mailboxes are %q, were %q: %w", have, want, errDiffers)
	}
	for _, n := range want {
		k, err := r.checkOne(n)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", r.shown(n), err)
		}
		messages += k
	}
	return len(want), messages, nil
}

func (r *replica) checkOne(n mailstore.Name) (int, error) {
	p, err := openPair(r.from, r.to, n)
	if err != nil {
		return 0, err
	}
	defer p.close()
	a, b := p.src.Info(), p.dst.Info()
	if a.UIDValidity != b.UIDValidity || a.GUID != b.GUID || p.want.UIDNext() != p.have.UIDNext() || p.want.Len() != p.have.Len() {
		return 0, failf(exitData, "UIDVALIDITY %d, GUID %x, UIDNEXT %d, %d messages were UIDVALIDITY %d, GUID %x, UIDNEXT %d, %d messages: %w",
			b.UIDValidity, b.GUID, p.have.UIDNext(), p.have.Len(), a.UIDValidity, a.GUID, p.want.UIDNext(), p.want.Len(), errDiffers)
	}
	for i := range p.want.Len() {
		if err := r.progress("checking "+r.shown(n), i, p.want.Len()); err != nil {
			return 0, err
		}
		w, h := p.want.At(i), p.have.At(i)
		if w.UID != h.UID {
			return 0, differ(w.UID, "UID", w.UID, h.UID)
		}
		if w.Flags != h.Flags || !sameWords(p.want.Keywords(w.Keywords), p.have.Keywords(h.Keywords)) {
			return 0, differ(w.UID, "flags", wordsOf(w.Flags, p.want.Keywords(w.Keywords)), wordsOf(h.Flags, p.have.Keywords(h.Keywords)))
		}
		if err := r.sameFacts(p, w.UID); err != nil {
			return 0, err
		}
	}
	return p.want.Len(), nil
}

// sameFacts compares dates to the second: that is what every format keeps.
func (r *replica) sameFacts(p *pair, uid mailstore.UID) error {
	x, err := p.src.Facts(uid, allFacts)
	if err != nil {
		return err
	}
	y, err := p.dst.Facts(uid, allFacts)
	switch {
	case err != nil:
		return err
	case x.Size != y.Size && !r.strippedTo(p, uid, y.Size):
		return differ(uid, "size", x.Size, y.Size)
	case x.InternalDate.Unix() != y.InternalDate.Unix():
		return differ(uid, "INTERNALDATE", x.InternalDate, y.InternalDate)
	case x.SaveDate.Unix() != y.SaveDate.Unix():
		return differ(uid, "SAVEDATE", x.SaveDate, y.SaveDate)
	case x.GUID != y.GUID:
		return differ(uid, "GUID", fmt.Sprintf("%x", x.GUID), fmt.Sprintf("%x", y.GUID))
	case x.UIDL != y.UIDL:
		return differ(uid, "UIDL", x.UIDL, y.UIDL)
	case x.Order != y.Order:
		return differ(uid, "POP3 order", x.Order, y.Order)
	}
	return nil
}
