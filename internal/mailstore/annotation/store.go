package annotation

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"

	"rookery/internal/crc32c"
	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/vfs"
)

func sumOn(v uint32, text string) uint32 { return crc32c.Update(v, append([]byte(text), 0)) }

// List shows the special uses that clients gave.
func (s *Store) List() ([]mailstore.Folder, error) {
	list, err := s.Store.List()
	if err != nil {
		return nil, err
	}
	b, err := s.read()
	if err != nil {
		s.note("special uses are shown as the settings have them: " + err.Error())
		return list, nil
	}
	return s.apply(b, list), nil
}

// Lookup is List for one mailbox.
func (s *Store) Lookup(name mailstore.Name) (mailstore.Folder, error) {
	f, err := s.Store.Lookup(name)
	if err != nil {
		return f, err
	}
	b, err := s.read()
	if err != nil || len(b.uses) == 0 {
		return f, nil
	}
	list, err := s.List()
	if err != nil {
		return f, err
	}
	i, ok := slices.BinarySearchFunc(list, name, func(f mailstore.Folder, n mailstore.Name) int { return strings.Compare(f.Name, n) })
	if ok {
		return list[i], nil
	}
	return f, nil
}

// Create makes a mailbox; one that cannot get its special use is not made
// (RFC 6154 §3).
func (s *Store) Create(name mailstore.Name, use mailstore.Attr) (mailstore.Name, error) {
	if use == 0 {
		return s.Store.Create(name, 0)
	}
	if err := MayAssign(use); err != nil {
		return "", errkind.Wrap("create", err)
	}
	out, err := s.Store.Create(name, 0)
	if err != nil {
		return "", err
	}
	guid, err := s.guidOf("create", out)
	var others []mailstore.Name
	if err == nil {
		err = s.update("create", func(b *book) (bool, error) {
			others, err = s.assign(b, guid, out, use)
			return true, err
		})
	}
	if err != nil {
		if derr := s.Store.Delete(out); derr != nil {
			s.opt.Note("the mailbox " + out + " was made without its special use and cannot be removed: " + derr.Error())
		}
		return "", err
	}
	for _, other := range others {
		s.feed.Add(other, SpecialUse)
	}
	return out, nil
}

// Delete removes a mailbox with its annotations and special uses.
func (s *Store) Delete(name mailstore.Name) error {
	b, err := s.read()
	if err != nil || len(b.lists) == 0 && len(b.uses) == 0 {
		return s.Store.Delete(name)
	}
	guid, none := s.guidOf("delete", name)
	if err := s.Store.Delete(name); err != nil || none != nil {
		return err
	}
	err = s.update("delete", func(b *book) (changed bool, _ error) {
		_, changed = b.lists[guid]
		delete(b.lists, guid)
		for use, h := range b.uses {
			if h.guid == guid {
				delete(b.uses, use)
				changed = true
			}
		}
		return changed, nil
	})
	if err != nil { // nobody gets this GUID again: they only take room
		s.opt.Note("annotations of the deleted mailbox " + name + " stay: " + err.Error())
	}
	return nil
}

// Rename keeps annotations, since they go by the mailbox's GUID. Those of INBOX
// stay and are copied (RFC 5464 §4.1).
func (s *Store) Rename(from, to mailstore.Name) error {
	if err := s.Store.Rename(from, to); err != nil {
		return err
	}
	b, err := s.read()
	if err == nil {
		err = s.followRename(b, from, to)
	}
	if err != nil {
		s.opt.Note("after the rename of " + from + " to " + to + ": " + err.Error())
	}
	return nil
}

func (s *Store) followRename(b *book, from, to mailstore.Name) error {
	if from != imapname.Inbox {
		moved := func(h holder) bool {
			return h.guid != mailstore.GUID{} && (h.name == from || imapname.Name(h.name).Below(imapname.Name(from)))
		}
		any := false
		for _, h := range b.uses {
			any = any || moved(h)
		}
		if !any {
			return nil
		}
		return s.update("rename", func(b *book) (bool, error) {
			for use, h := range b.uses {
				if moved(h) {
					h.name = string(imapname.Name(h.name).Moved(imapname.Name(from), imapname.Name(to)))
					b.uses[use] = h
				}
			}
			return true, nil
		})
	}
	if len(b.lists) == 0 {
		return nil
	}
	inbox, err := s.guidOf("rename", imapname.Inbox)
	if err != nil || len(b.lists[inbox]) == 0 {
		return err
	}
	target, err := s.guidOf("rename", to)
	if err != nil {
		return err
	}
	return s.update("rename", func(b *book) (bool, error) {
		b.lists[target] = slices.Clone(b.lists[inbox])
		return true, nil
	})
}

// Check looks for a file that cannot be read, and for entries of mailboxes that are
// gone.
func (s *Store) Check(ctx context.Context, repair bool, found func(mailstore.Finding)) error {
	b, err := s.read()
	if errkind.Is(err, errkind.Corrupt) {
		f := mailstore.Finding{Kind: "metadata-damaged", Text: err.Error(), Remedy: "it is moved to " + File + ".damaged; annotations and special uses of clients are gone"}
		if repair {
			if err := s.opt.FS.Rename(s.file.Path, s.file.Path+".damaged"); err != nil {
				return vfs.Kinded("repair "+File, err)
			}
			f.Repaired = true // a power cut may take it back: then it is found again
		}
		found(f)
		return nil
	}
	if err != nil || len(b.lists) == 0 && len(b.uses) == 0 {
		return err
	}
	dead, err := s.orphans(ctx, b)
	if err != nil || len(dead) == 0 {
		return err
	}
	if repair {
		err = s.update("repair "+File, func(b *book) (bool, error) {
			for guid := range dead {
				delete(b.lists, guid)
				for use, h := range b.uses {
					if h.guid == guid {
						delete(b.uses, use)
					}
				}
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	for guid := range dead {
		found(mailstore.Finding{Kind: "metadata-orphan", Text: "annotations of the mailbox with the GUID " + hex.EncodeToString(guid[:]) + ", which is not there",
			Remedy: "they are removed", Repaired: repair})
	}
	return nil
}

// orphans are the mailboxes of the file that are not in the store.
func (s *Store) orphans(ctx context.Context, b *book) (map[mailstore.GUID]bool, error) {
	dead := map[mailstore.GUID]bool{}
	for guid := range b.lists {
		dead[guid] = true
	}
	for _, h := range b.uses {
		dead[h.guid] = true
	}
	delete(dead, mailstore.GUID{})
	list, err := s.Store.List()
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
			continue
		}
		st, err := s.Store.Status(f.Name, mailstore.StatusWant{})
		if errkind.Is(err, errkind.NotFound) {
			continue
		}
		if err != nil {
			return nil, err // what cannot be looked at may be one of them
		}
		delete(dead, st.GUID)
	}
	return dead, nil
}
