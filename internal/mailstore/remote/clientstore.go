package remote

import (
	"cmp"
	"slices"

	"rookery/internal/acl"
	"rookery/internal/mailstore"
)

// Namespaces gives one, for the owner's own names.
func (c *Client) Namespaces() []mailstore.Namespace {
	return []mailstore.Namespace{c.namespace()}
}

func (c *Client) namespace() mailstore.Namespace {
	return mailstore.Namespace{Kind: mailstore.Private, Separator: '/', Owner: c.opt.Owner, List: true}
}

// List is mailstore.Store's.
func (c *Client) List() ([]mailstore.Folder, error) {
	var out folders
	if err := c.call(opList, "list", &none{}, &out); err != nil {
		return nil, err
	}
	ascend := func(a, b mailstore.Folder) int { return cmp.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(out.List, ascend) {
		slices.SortFunc(out.List, ascend)
	}
	return out.List, nil
}

// Lookup is mailstore.Store's.
func (c *Client) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	var out folders
	err := c.call(opLookup, "lookup", &named{name}, &out)
	if err != nil {
		return mailstore.Folder{}, err
	}
	if len(out.List) != 1 || out.List[0].Name != name {
		c.end(broken("the answer to call \"lookup\" is of something else"))
		return mailstore.Folder{}, unavailable("lookup")
	}
	return out.List[0], nil
}

// Subscriptions is mailstore.Store's.
func (c *Client) Subscriptions() ([]mailstore.Name, error) {
	var out names
	err := c.call(opSubscriptions, "subscriptions", &none{}, &out)
	return out.List, err
}

// Subscribe is mailstore.Store's.
func (c *Client) Subscribe(name mailstore.Name, on bool) error {
	return c.call(opSubscribe, "subscribe", &subscribing{name, on}, &none{})
}

// Create is mailstore.Store's.
func (c *Client) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	var out named
	err := c.call(opCreate, "create", &creating{name, use}, &out)
	return out.Name, err
}

// Delete is mailstore.Store's.
func (c *Client) Delete(name mailstore.Name) error {
	defer c.touch()
	return c.call(opDelete, "delete", &named{name}, &none{})
}

// Rename is mailstore.Store's.
func (c *Client) Rename(from, to mailstore.Name) error {
	defer c.touch()
	return c.call(opRename, "rename", &renaming{from, to}, &none{})
}

// touch makes the open mailboxes look again what they are called and what is allowed.
func (c *Client) touch() {
	c.mu.Lock()
	boxes := make([]*clientBox, 0, len(c.boxes))
	for _, b := range c.boxes {
		boxes = append(boxes, b)
	}
	c.mu.Unlock()
	for _, b := range boxes {
		b.changed(false)
	}
}

// Status is mailstore.Store's.
func (c *Client) Status(name mailstore.Name, want mailstore.StatusWant) (mailstore.Status, error) {
	var out status
	err := c.call(opStatus, "status", &asking{name, want.Size}, &out)
	return out.Status, err
}

// Quota is mailstore.Store's.
func (c *Client) Quota() (mailstore.Quota, bool, error) {
	var out quota
	err := c.call(opQuota, "quota", &none{}, &out)
	return out.Quota, out.OK, err
}

// MyRights is mailstore.Sharer's.
func (c *Client) MyRights(name mailstore.Name) (acl.Rights, error) {
	var out rights
	err := c.call(opMyRights, "myrights", &named{name}, &out)
	return out.Rights, err
}

// GetACL is mailstore.Sharer's.
func (c *Client) GetACL(name mailstore.Name) (acl.List, error) {
	var out aclText
	if err := c.call(opGetACL, "getacl", &named{name}, &out); err != nil {
		return acl.List{}, err
	}
	return acl.Parse(out.Text)
}

// SetACL is mailstore.Sharer's.
func (c *Client) SetACL(name mailstore.Name, id acl.ID, change acl.Change) error {
	defer c.touch()
	return c.call(opSetACL, "setacl", &granting{name, id, change}, &none{})
}

// DeleteACL is mailstore.Sharer's.
func (c *Client) DeleteACL(name mailstore.Name, id acl.ID) error {
	defer c.touch()
	return c.call(opDeleteACL, "deleteacl", &granting{Name: name, ID: id}, &none{})
}

// Grantable is mailstore.Sharer's.
func (c *Client) Grantable(name mailstore.Name, id acl.ID) (always, can acl.Rights, err error) {
	var out grantable
	err = c.call(opGrantable, "listrights", &granting{Name: name, ID: id}, &out)
	return out.Always, out.Can, err
}
