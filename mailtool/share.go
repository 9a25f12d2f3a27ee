package mailtool

import (
	"errors"
	"strings"

	"rookery/internal/acl"
	"rookery/internal/errkind"
	"rookery/internal/mailstore"
)

// sharedLine is a line of Share and Shares: what an identifier has in a mailbox.
type sharedLine struct {
	Mailbox    string `json:"mailbox"`
	Identifier string `json:"identifier"`
	Rights     string `json:"rights"`
}

// lists gives who keeps the access control lists.
func (c *call) lists() (mailstore.ACLKeeper, error) {
	if k, ok := mailstore.ACLs(c.store); ok {
		return k, nil
	}
	return nil, lacks("keep access control lists")
}

// tree gives the mailboxes that an argument of Share names: one mailbox, or with the
// separator and "*" at its end the mailbox, if it is there, and all below it. "/*" does
// so, too, whatever the separator is: no name has a "/" then.
func (c *call) tree(arg string) ([]mailstore.Name, error) {
	sep := "/"
	if s := c.dialect().Separator; s != 0 {
		sep = string(rune(s))
	}
	top, whole := strings.CutSuffix(arg, sep+"*")
	if !whole {
		top, whole = strings.CutSuffix(arg, "/*")
	}
	n, err := c.name(top)
	if err != nil {
		return nil, err
	}
	all, err := c.store.List()
	if err != nil {
		return nil, err
	}
	var out []mailstore.Name
	for _, f := range openable(all) {
		if f.Name == n || whole && strings.HasPrefix(f.Name, n+"/") {
			out = append(out, f.Name)
		}
	}
	if len(out) == 0 {
		return nil, c.missing(n, errkind.New("share", errkind.NotFound, nil))
	}
	return out, nil
}

// trees is tree of all arguments.
func (c *call) trees() (out []mailstore.Name, err error) {
	seen := map[mailstore.Name]bool{}
	for _, a := range c.args {
		names, err := c.tree(a)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if !seen[n] {
				seen[n] = true
				out = append(out, n)
			}
		}
	}
	return out, nil
}

// identifiers reads the options "with".
func (c *call) identifiers() (ids []acl.ID, err error) {
	for _, text := range c.options["with"] {
		id, err := acl.ParseID(text)
		if err != nil {
			return nil, failf(exitUsage, "%q: %w", text, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// share gives identifiers rights in mailboxes. Nothing is changed if one of the
// arguments is wrong; a mailbox whose list cannot be changed ends it.
func share(c *call) error {
	ids, err := c.identifiers()
	if err != nil {
		return err
	}
	if len(ids) == 0 || !c.is("rights") {
		return failf(exitUsage, "with whom, and with which rights? write --with and --rights")
	}
	change, err := acl.ParseChange(c.option("rights"))
	if err != nil {
		return failf(exitUsage, "%q: %w", c.option("rights"), err)
	}
	lists, err := c.lists()
	if err != nil {
		return err
	}
	names, err := c.trees()
	if err != nil {
		return err
	}
	for i, n := range names {
		var now acl.List
		c.touched = true
		err := lists.EditACL(n, func(l acl.List) (_ acl.List, err error) {
			for _, id := range ids {
				if l, err = l.Changed(id, change); err != nil {
					return l, err
				}
			}
			now = l
			return l, nil
		})
		if err != nil {
			return c.missing(n, err)
		}
		for _, id := range ids {
			if r, ok := now.Get(id); ok {
				if err := c.line(sharedLine{c.shown(n), id.Wire(), r.String()}); err != nil {
					return err
				}
			}
		}
		if err := c.progress("share", i+1, len(names)); err != nil {
			return err
		}
	}
	return nil
}

// errNothing says that a list has nothing that could be taken out.
var errNothing = errors.New("nothing to take out")

// unshare takes identifiers out of the lists of mailboxes; without any, everybody but
// the owner.
func unshare(c *call) error {
	ids, err := c.identifiers()
	if err != nil {
		return err
	}
	lists, err := c.lists()
	if err != nil {
		return err
	}
	names, err := c.trees()
	if err != nil {
		return err
	}
	found := false
	for i, n := range names {
		var out []acl.Entry
		err := lists.EditACL(n, func(l acl.List) (acl.List, error) {
			for _, e := range l.Entries() {
				if len(ids) == 0 && e.Kind != acl.Owner || containsID(ids, e.ID) {
					l, _ = l.Without(e.ID)
					out = append(out, e)
				}
			}
			if len(out) == 0 {
				return l, errNothing
			}
			return l, nil
		})
		if err != nil && !errors.Is(err, errNothing) {
			return c.missing(n, err)
		}
		for _, e := range out {
			found, c.touched = true, true
			if err := c.line(map[string]string{"mailbox": c.shown(n), "unshared": e.ID.Wire()}); err != nil {
				return err
			}
		}
		if err := c.progress("unshare", i+1, len(names)); err != nil {
			return err
		}
	}
	if !found {
		return failf(exitNoInput, "nothing was shared; see: rookeryctl shares -u %s", c.user)
	}
	return nil
}

func containsID(ids []acl.ID, id acl.ID) bool {
	for _, one := range ids {
		if one == id {
			return true
		}
	}
	return false
}

// shares tells who has what in which mailboxes, but for what the owner has in any
// case.
func shares(c *call) error {
	lists, err := c.lists()
	if err != nil {
		return err
	}
	all, err := c.selected(c.args)
	if err != nil {
		return err
	}
	all = openable(all)
	for i, f := range all {
		list, err := lists.ACL(f.Name)
		if errkind.Is(err, errkind.NotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		for _, e := range list.Shown() {
			if e.ID == (acl.ID{Kind: acl.Owner}) && e.Rights == acl.All {
				continue
			}
			if err := c.line(sharedLine{c.shown(f.Name), e.ID.Wire(), e.Rights.String()}); err != nil {
				return err
			}
		}
		if err := c.progress("shares", i+1, len(all)); err != nil {
			return err
		}
	}
	return nil
}
