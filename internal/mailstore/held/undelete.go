package held

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Request says what to put back.
type Request struct {
	Since   time.Time      // expunged at or after this time; zero: all that is held
	Mailbox mailstore.Name // of this mailbox; "": of all
	DryRun  bool           // only tell
}

// Restored is what was put back into one mailbox, or would be.
type Restored struct {
	Mailbox  mailstore.Name
	Created  bool // the mailbox was gone and is made again
	Messages int
	// Were are the UIDs that the messages had, where that is known. They get new
	// ones: UIDs only ascend.
	Were numset.Set
	// First and Last are when the first and the last of them were expunged.
	First, Last time.Time
}

// Undelete puts held messages back into their mailboxes with their flags,
// keywords and dates, but without \Deleted, which would have the next EXPUNGE
// take them again. A mailbox that is gone is made again under its last name.
// What was put back before an error is in the result.
func (s *Store) Undelete(ctx context.Context, req Request) (out []Restored, err error) {
	boxes, err := s.hiddenBoxes()
	if err != nil {
		return nil, err
	}
	known, err := s.origins()
	if err != nil {
		return nil, errkind.Wrap("undelete", err)
	}
	guids := make([]mailstore.GUID, 0, len(boxes))
	for g := range boxes {
		guids = append(guids, g)
	}
	slices.SortFunc(guids, func(a, b mailstore.GUID) int { return strings.Compare(string(a[:]), string(b[:])) })
	targets, err := s.targets(guids, known)
	if err != nil {
		return nil, errkind.Wrap("undelete", err)
	}
	for _, g := range guids {
		t := targets[g]
		if req.Mailbox != "" && req.Mailbox != t.name || ctx.Err() != nil {
			continue
		}
		r, err := s.restore(ctx, boxes[g], t, known[g], req)
		if r.Messages > 0 {
			out = append(out, r)
		}
		if err != nil {
			return out, errkind.Wrap("undelete", err)
		}
	}
	slices.SortFunc(out, func(a, b Restored) int { return strings.Compare(a.Mailbox, b.Mailbox) })
	return out, ctx.Err()
}

// target is where the messages of one hidden mailbox go.
type target struct {
	name    mailstore.Name
	missing bool
}

// targets finds the mailboxes by their GUID, whatever their names are now; for
// one that is gone, the name that it had.
func (s *Store) targets(guids []mailstore.GUID, known map[mailstore.GUID]*origin) (map[mailstore.GUID]target, error) {
	out := map[mailstore.GUID]target{}
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	there := map[mailstore.Name]bool{}
	for _, f := range list {
		if f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
			continue
		}
		st, err := s.Store.Status(f.Name, mailstore.StatusWant{})
		if err != nil {
			return nil, err
		}
		there[f.Name] = true
		out[st.GUID] = target{name: f.Name}
	}
	for _, g := range guids {
		if _, ok := out[g]; ok {
			continue
		}
		// Without the control file nobody knows the name any more.
		name := strings.TrimSuffix(s.roots[0], Root) + "Undeleted " + hex.EncodeToString(g[:4])
		if o := known[g]; o != nil && o.name != "" {
			name = o.name
		}
		out[g] = target{name, !there[name]}
	}
	return out, nil
}

func (s *Store) restore(ctx context.Context, from mailstore.Name, t target, o *origin, req Request) (r Restored, err error) {
	r.Mailbox, r.Created = t.name, t.missing
	mb, snap, err := mailstore.Look(s.Store, from)
	if errkind.Is(err, errkind.NotFound) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	defer mb.Close()
	var list []mailstore.UID
	for pos := range snap.Len() {
		at, err := s.heldAt(mb, snap.At(pos).UID)
		if errkind.Is(err, errkind.Expunged) {
			continue
		}
		if err != nil {
			return r, err
		}
		if at.Before(req.Since.Truncate(time.Second)) { // a SAVEDATE may be of whole seconds
			continue
		}
		if len(list) == 0 {
			r.First = at
		}
		r.Last = at
		list = append(list, snap.At(pos).UID)
	}
	var double []mailstore.UID
	if len(list) > 0 {
		if list, double, err = s.split(mb, t, list); err != nil {
			return r, err
		}
	}
	if req.DryRun || len(list)+len(double) == 0 {
		r.Messages, r.Were = len(list), were(o, list)
		return r, nil
	}
	if t.missing {
		if _, err := s.Store.Create(t.name, 0); err != nil && !errkind.Is(err, errkind.Exists) {
			return r, err
		}
	}
	for step := range slices.Chunk(list, stepSize) {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		set := numset.FromSorted(step)
		// Before the move: a crash in between leaves them held, and can be gone over again.
		if _, err := mb.Store(mailstore.FlagChange{UIDs: set, Op: mailstore.RemoveFlags, Flags: mailstore.Deleted}); err != nil {
			return r, err
		}
		res, err := mb.Move(set, t.name)
		r.Messages += len(res.From)
		r.Were = r.Were.Union(were(o, res.From))
		if err != nil {
			return r, err
		}
	}
	if len(double) > 0 {
		_, err = mb.Expunge(numset.FromSorted(double))
	}
	return r, err
}

// split finds, by their GUIDs, held messages that are in their mailbox too, or
// are held twice: a crash cut the deletion of the mailbox, which copies first.
func (s *Store) split(mb mailstore.Mailbox, t target, list []mailstore.UID) (missing, there []mailstore.UID, err error) {
	has := map[mailstore.GUID]bool{}
	if !t.missing {
		if has, err = s.guids(t.name); err != nil {
			return nil, nil, err
		}
	}
	for _, uid := range list {
		f, err := mb.Facts(uid, mailstore.FactsWant{GUID: true})
		if err != nil && !errkind.Is(err, errkind.Expunged) {
			return nil, nil, err
		}
		if has[f.GUID] {
			there = append(there, uid)
		} else {
			missing = append(missing, uid)
			has[f.GUID] = true
		}
	}
	return missing, there, nil
}

// guids gives those of a mailbox's messages.
func (s *Store) guids(name mailstore.Name) (map[mailstore.GUID]bool, error) {
	mb, snap, err := mailstore.Look(s.Store, name)
	if err != nil {
		return nil, err
	}
	defer mb.Close()
	out := map[mailstore.GUID]bool{}
	for pos := range snap.Len() {
		if f, err := mb.Facts(snap.At(pos).UID, mailstore.FactsWant{GUID: true}); err == nil {
			out[f.GUID] = true
		}
	}
	return out, nil
}

// were gives the UIDs that held messages had before.
func were(o *origin, held []mailstore.UID) (out numset.Set) {
	if o == nil {
		return out
	}
	set := numset.FromSorted(held)
	var list []mailstore.UID
	for _, m := range o.moves {
		if m.to.Intersect(set).Empty() {
			continue
		}
		var from []mailstore.UID
		for u := range m.from.All() {
			from = append(from, u)
		}
		i := 0
		for u := range m.to.All() {
			if set.Contains(u) {
				list = append(list, from[i])
			}
			i++
		}
	}
	slices.Sort(list)
	return numset.FromSorted(slices.Compact(list))
}
