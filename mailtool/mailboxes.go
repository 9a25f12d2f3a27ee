package mailtool

import (
	"fmt"
	"slices"
	"strings"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
)

// dialect is how the operator writes names: in UTF-8, with the separator that
// the user's mail programs show.
func (c *call) dialect() imapname.Dialect {
	d := imapname.Dialect{UTF8: true}
	if all := c.store.Namespaces(); len(all) > 0 {
		d.Separator = all[0].Separator
	}
	return d
}

// shown is a name as the operator writes it.
func (c *call) shown(n mailstore.Name) string {
	text, ok := c.dialect().Show(imapname.Name(n))
	if !ok {
		return n // it has the separator within a level: no client can name it either
	}
	return text
}

// name reads a mailbox's name; INBOX may be in any case.
func (c *call) name(text string) (mailstore.Name, error) {
	if text == "" {
		return "", failf(exitUsage, "the mailbox's name is empty")
	}
	n, err := c.dialect().Parse(text, false)
	if err != nil {
		return "", failf(exitData, "%q cannot be a mailbox: %w", text, err)
	}
	return string(n), nil
}

// missing says what to do about a mailbox that is not there.
func (c *call) missing(n mailstore.Name, err error) error {
	if errkind.Is(err, errkind.NotFound) {
		return failf(exitNoInput, "%s has no mailbox %s; see: rookeryctl mailbox list -u %s", c.user, c.shown(n), c.user)
	}
	return err
}

// isPattern reports whether a name is one for several mailboxes.
func isPattern(n string) bool { return strings.ContainsAny(n, "*%") }

// selected gives the mailboxes that one of the patterns of LIST (RFC 3501
// §6.3.8) or plain names fits; without patterns all. A plain name that is not there is an error.
func (c *call) selected(patterns []string) ([]mailstore.Folder, error) {
	all, err := c.store.List()
	if err != nil {
		return nil, err
	}
	if len(patterns) == 0 {
		return all, nil
	}
	want := map[string]bool{}
	var globs []imapname.Pattern
	for _, p := range patterns {
		if isPattern(p) {
			globs = append(globs, c.dialect().Pattern("", p[:min(len(p), imapname.MaxPattern)]))
			continue
		}
		n, err := c.name(p)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, func(f mailstore.Folder) bool { return f.Name == n }) {
			return nil, c.missing(n, errkind.New("list", errkind.NotFound, nil))
		}
		want[n] = true
	}
	var out []mailstore.Folder
	for _, f := range all {
		if want[f.Name] || slices.ContainsFunc(globs, func(g imapname.Pattern) bool { return g.Match(imapname.Name(f.Name)) }) {
			out = append(out, f)
		}
	}
	return out, nil
}

// openable drops what is no mailbox but a name above one.
func openable(all []mailstore.Folder) []mailstore.Folder {
	return slices.DeleteFunc(slices.Clone(all), func(f mailstore.Folder) bool { return f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 })
}

// attrNames are the words of LIST.
var attrNames = [...]struct {
	attr mailstore.Attr
	word string
}{
	{mailstore.NoSelect, `\NoSelect`}, {mailstore.NonExistent, `\NonExistent`}, {mailstore.HasChildren, `\HasChildren`}, {mailstore.Marked, `\Marked`},
	{mailstore.UseAll, `\All`}, {mailstore.UseArchive, `\Archive`}, {mailstore.UseDrafts, `\Drafts`}, {mailstore.UseFlagged, `\Flagged`},
	{mailstore.UseJunk, `\Junk`}, {mailstore.UseSent, `\Sent`}, {mailstore.UseTrash, `\Trash`}, {mailstore.UseImportant, `\Important`},
}

// listed is a line of List.
type listed struct {
	Mailbox    string   `json:"mailbox"`
	Subscribed bool     `json:"subscribed"`
	Attributes []string `json:"attributes"`
}

// list gives the mailboxes that fit the patterns; with subscribed only those
// that are subscribed, there or not.
func list(c *call) error {
	all, err := c.selected(c.args)
	if err != nil {
		return err
	}
	for _, f := range all {
		if c.is("subscribed") && f.Attrs&mailstore.Subscribed == 0 {
			continue
		}
		l := listed{Mailbox: c.shown(f.Name), Subscribed: f.Attrs&mailstore.Subscribed != 0, Attributes: []string{}}
		for _, a := range attrNames {
			if f.Attrs&a.attr != 0 {
				l.Attributes = append(l.Attributes, a.word)
			}
		}
		if err := c.line(l); err != nil {
			return err
		}
	}
	return nil
}

// statusLine is a line of Status.
type statusLine struct {
	Mailbox       string           `json:"mailbox"`
	Messages      uint32           `json:"messages"`
	Unseen        uint32           `json:"unseen"`
	Recent        uint32           `json:"recent"`
	Deleted       uint32           `json:"deleted"`
	Size          uint64           `json:"size"`
	UIDNext       uint32           `json:"uidnext"`
	UIDValidity   uint32           `json:"uidvalidity"`
	HighestModSeq mailstore.ModSeq `json:"highestmodseq"`
	GUID          string           `json:"guid"`
}

func status(c *call) error {
	all, err := c.selected(c.args)
	if err != nil {
		return err
	}
	all = openable(all)
	for i, f := range all {
		st, err := c.store.Status(f.Name, mailstore.StatusWant{Size: true})
		if errkind.Is(err, errkind.NotFound) {
			continue // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if err := c.line(statusLine{c.shown(f.Name), st.Messages, st.Unseen, st.Recent, st.Deleted, st.Size, st.UIDNext, st.UIDValidity, st.HighestModSeq, fmt.Sprintf("%x", st.GUID[:])}); err != nil {
			return err
		}
		if err := c.progress("status", i+1, len(all)); err != nil {
			return err
		}
	}
	return nil
}

func create(c *call) error {
	for _, a := range c.args {
		n, err := c.name(a)
		if err != nil {
			return err
		}
		c.touched = true
		kept, err := c.store.Create(n, 0)
		if errkind.Is(err, errkind.Exists) {
			return failf(exitCreate, "%s has a mailbox %s already", c.user, c.shown(n))
		}
		if err != nil {
			return err
		}
		if c.is("subscribe") {
			if err := c.store.Subscribe(kept, true); err != nil {
				return err
			}
		}
		if err := c.line(map[string]string{"created": c.shown(kept)}); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes mailboxes; with children also those below.
func remove(c *call) error {
	for _, a := range c.args {
		n, err := c.name(a)
		if err != nil {
			return err
		}
		names := []string{n}
		if c.is("recursive") {
			if names, err = c.below(n); err != nil {
				return err
			}
		}
		for _, n := range names {
			c.touched = true
			if err := c.store.Delete(n); err != nil {
				return c.missing(n, err)
			}
			if c.is("unsubscribe") {
				if err := c.store.Subscribe(n, false); err != nil && !errkind.Is(err, errkind.NotFound) {
					return err
				}
			}
			if err := c.line(map[string]string{"deleted": c.shown(n)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// below gives the mailboxes below n and then n itself.
func (c *call) below(n mailstore.Name) ([]string, error) {
	all, err := c.store.List()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range openable(all) {
		if f.Name == n || strings.HasPrefix(f.Name, n+"/") {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return nil, c.missing(n, errkind.New("delete", errkind.NotFound, nil))
	}
	slices.Reverse(names) // List sorts: children come after their parent
	return names, nil
}

func rename(c *call) error {
	from, err := c.name(c.args[0])
	if err != nil {
		return err
	}
	to, err := c.name(c.args[1])
	if err != nil {
		return err
	}
	c.touched = true
	if err := c.store.Rename(from, to); err != nil {
		if errkind.Is(err, errkind.Exists) {
			return failf(exitCreate, "%s has a mailbox %s already", c.user, c.shown(to))
		}
		return c.missing(from, err)
	}
	return c.line(map[string]string{"from": c.shown(from), "to": c.shown(to)})
}

func subscribe(c *call) error   { return c.subscription(true) }
func unsubscribe(c *call) error { return c.subscription(false) }

func (c *call) subscription(on bool) error {
	for _, a := range c.args {
		n, err := c.name(a)
		if err != nil {
			return err
		}
		c.touched = true
		err = c.store.Subscribe(n, on)
		if errkind.Is(err, errkind.NotFound) && !on {
			return failf(exitNoInput, "%s is not subscribed to %s", c.user, c.shown(n))
		}
		if err != nil {
			return err
		}
		if err := c.line(map[string]any{"mailbox": c.shown(n), "subscribed": on}); err != nil {
			return err
		}
	}
	return nil
}

// restored raises the UIDVALIDITY of mailboxes that came out of a backup: what
// clients remember of them is newer than what is there.
func restored(c *call) error {
	r, ok := find[mailstore.Restorer](c.store)
	if !ok {
		return lacks("give a mailbox a new UIDVALIDITY")
	}
	all, err := c.selected(c.args)
	if err != nil {
		return err
	}
	for _, f := range openable(all) {
		c.touched = true
		v, err := r.Renew(f.Name)
		if errkind.Is(err, errkind.NotFound) {
			continue // of the settings, and not made yet
		}
		if err != nil {
			return err
		}
		if err := c.line(map[string]any{"mailbox": c.shown(f.Name), "uidvalidity": v}); err != nil {
			return err
		}
	}
	return nil
}
