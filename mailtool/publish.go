package mailtool

import (
	"rookery/internal/ipc/workermsg"
	"rookery/internal/mailstore"
	"rookery/internal/worker"
)

// publish tells the list of shares anew which mailboxes others may see.
func publish(c *call) error {
	boxes, err := c.shared()
	if err != nil {
		return err
	}
	c.tell(boxes)
	var o ordered
	o.add("user", c.user)
	o.add("shared", len(boxes))
	return c.line(o)
}

// shared gives the mailboxes whose lists give somebody other than the owner
// something. One whose list cannot be read is the owner's alone. A format without
// lists shares nothing.
func (s *service) shared() (out []workermsg.Published, err error) {
	lists, ok := mailstore.ACLs(s.store)
	if !ok {
		return nil, nil
	}
	all, err := s.store.List()
	if err != nil {
		return nil, err
	}
	for _, f := range openable(all) {
		if list, err := lists.ACL(f.Name); err == nil {
			if box, ok := worker.Publishable(f.Name, list); ok {
				out = append(out, box)
			}
		}
	}
	return out, nil
}

// republish is for after a command that changed names or lists. What cannot be told
// now is told when the user logs in.
func (s *service) republish() {
	if s.store == nil {
		return
	}
	if boxes, err := s.shared(); err == nil {
		s.tell(boxes)
	}
}
