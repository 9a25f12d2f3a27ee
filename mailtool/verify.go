package mailtool

import (
	"slices"

	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// findingLine is a line of Verify.
type findingLine struct {
	Mailbox  string `json:"mailbox"`
	Kind     string `json:"kind"`
	Text     string `json:"text"`
	Remedy   string `json:"remedy"`
	Repaired bool   `json:"repaired"`
}

// verifying is one verify.
type verifying struct {
	*call
	repair bool
	left   int // findings that are not repaired
	told   error
}

// verify compares mail, control files and index with each other: of the
// mailboxes named, or of all and of the store as a whole. Without repair the mail is
// opened in a way in which nothing can be changed: opening it alone mends what a
// crash left.
func verify(c *call) error {
	v := &verifying{call: c, repair: c.is("repair") && !c.is("dry-run")}
	in, ok := c.home.(inspector)
	if !ok {
		return lacks("be verified here")
	}
	at := c.home
	if !v.repair {
		at = in.Dry()
		in = at.(inspector)
	}
	c.close() // what was open may know what is damaged by now
	whole := len(c.args) == 0
	var before []mailstore.Finding
	if whole {
		if err := c.progress("looking at indexes and journals", 0, 0); err != nil {
			return err
		}
		if err := in.Inspect(v.repair, func(f mailstore.Finding) { before = append(before, f) }); err != nil {
			return err
		}
	}
	store, err := at.Open()
	if err != nil {
		for _, f := range before {
			v.tell(f)
		}
		return err
	}
	c.store = store
	defer c.close()
	c.touched = v.repair
	if err := v.all(whole); err != nil {
		return err
	}
	if err := v.inspected(in, before); err != nil {
		return err
	}
	switch {
	case v.told != nil:
		return v.told
	case v.left > 0 && !v.repair:
		return failf(exitData, "%d findings; rookeryctl verify -u %s --repair does what stands under remedy", v.left, c.user)
	case v.left > 0:
		return failf(exitData, "%d findings are left; do what stands under remedy", v.left)
	}
	return nil
}

// inspected tells what was found before the mail was opened. A repair counts if it
// is not found any more now.
func (v *verifying) inspected(at inspector, before []mailstore.Finding) error {
	if v.repair && len(before) > 0 {
		var after []mailstore.Finding
		if err := at.Inspect(false, func(f mailstore.Finding) { after = append(after, f) }); err != nil {
			return err
		}
		for i := range before {
			before[i].Repaired = !slices.ContainsFunc(after, func(f mailstore.Finding) bool { return f.Kind == before[i].Kind && f.Text == before[i].Text })
		}
	}
	for _, f := range before {
		v.tell(f)
	}
	return nil
}

// tell sends one finding.
func (v *verifying) tell(f mailstore.Finding) {
	if !f.Repaired {
		v.left++
	}
	l := findingLine{Kind: f.Kind, Text: f.Text, Remedy: f.Remedy, Repaired: f.Repaired}
	if f.Mailbox != "" {
		l.Mailbox = f.Mailbox
		if v.store != nil {
			l.Mailbox = v.shown(f.Mailbox)
		}
	}
	if v.told == nil {
		v.told = v.line(l)
	}
}

// all verifies the mailboxes that were named, or, whole, everything.
func (v *verifying) all(whole bool) error {
	d, ok := find[mailstore.Verifier](v.store)
	if !ok {
		return lacks("be verified")
	}
	list, err := v.selected(v.args)
	if err != nil {
		return err
	}
	var names []mailstore.Name
	if whole {
		if list, err = innermost(v.store).List(); err != nil { // with what is hidden
			return err
		}
		names = []mailstore.Name{""}
	}
	for _, f := range openable(list) {
		names = append(names, f.Name)
	}
	for i, n := range names {
		if err := v.progress("verifying", i, len(names)); err != nil {
			return err
		}
		err := d.Verify(v.ctx, n, v.repair, v.tell)
		if err != nil && !errkind.Is(err, errkind.NotFound) { // deleted meanwhile, or of the settings and not made yet
			return err
		}
		if v.told != nil {
			return v.told
		}
	}
	if !whole {
		return nil
	}
	if err := v.subscriptions(); err != nil {
		return err
	}
	return v.wrappers()
}

// innermost gives the store without what is put around it.
func innermost(s mailstore.Store) mailstore.Store {
	for {
		w, ok := s.(interface{ Unwrap() mailstore.Store })
		if !ok {
			return s
		}
		s = w.Unwrap()
	}
}

// subscriptions finds names that are subscribed and not there. Clients may mean
// that (RFC 3501 §6.3.6), so nothing but the operator's word takes one away.
func (v *verifying) subscriptions() error {
	all, err := v.store.List()
	if err != nil {
		return err
	}
	subs, err := v.store.Subscriptions()
	if err != nil {
		return err
	}
	there := map[mailstore.Name]bool{}
	for _, f := range all {
		there[f.Name] = true
	}
	for _, n := range subs {
		if there[n] {
			continue
		}
		f := mailstore.Finding{Mailbox: n, Kind: "subscription-stale", Text: "it is subscribed, and there is no such mailbox", Remedy: "it is unsubscribed"}
		if v.repair {
			if err := v.store.Subscribe(n, false); err != nil && !errkind.Is(err, errkind.NotFound) {
				return err
			}
			f.Repaired = true
		}
		v.tell(f)
	}
	return nil
}

// wrappers has what is put around the store look at its own files.
func (v *verifying) wrappers() error {
	once := map[mailstore.Finding]bool{} // one that embeds the next one checks for it, too
	for s := v.store; ; {
		if c, ok := s.(mailstore.Checker); ok {
			err := c.Check(v.ctx, v.repair, func(f mailstore.Finding) {
				if !once[f] {
					v.tell(f)
				}
				once[f] = true
			})
			if err != nil {
				return err
			}
		}
		w, ok := s.(interface{ Unwrap() mailstore.Store })
		if !ok {
			return nil
		}
		s = w.Unwrap()
	}
}
