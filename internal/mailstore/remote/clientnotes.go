package remote

import "rookery/internal/mailstore"

var _ mailstore.SharedNotes = (*Client)(nil)

// SharedNotes is mailstore.SharedNotes'.
func (c *Client) SharedNotes(mailbox mailstore.Name) (mailstore.Noted, error) {
	var out noted
	err := c.call(opNotes, "annotations", &named{mailbox}, &out)
	return out.Noted, err
}

// SetSharedNotes is mailstore.SharedNotes'.
func (c *Client) SetSharedNotes(mailbox mailstore.Name, changes []mailstore.Annotation) (uint64, error) {
	var out number
	err := c.call(opSetNotes, "annotate", &noting{mailbox, changes}, &out)
	return out.N, err
}

// SharedNotesSince is mailstore.SharedNotes'.
func (c *Client) SharedNotesSince(since uint64) ([]mailstore.Annotated, uint64, error) {
	var out notesChanged
	err := c.call(opNotesSince, "annotations", &number{since}, &out)
	return out.List, out.Last, err
}

// NotedBoxes is mailstore.SharedNotes'.
func (c *Client) NotedBoxes() ([]mailstore.GUID, error) {
	var out guids
	err := c.call(opNotedBoxes, "annotations", &none{}, &out)
	return out.List, err
}
