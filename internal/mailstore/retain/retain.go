// Package retain removes mail that its mailbox keeps only for a time, or only so
// many messages of: the settings autoexpunge and autoexpunge_max_mails.
//
// Workers call it when the user's last session has ended, and once a day while
// one lasts; it works on any mailstore.Store, through the outermost wrapper, so
// that what it removes is held for undelete like what a client expunges. It
// must never know a protocol or a mail format.
package retain

import (
	"context"
	"slices"
	"time"

	"rookery/internal/errkind"
	"rookery/internal/imapname"
	"rookery/internal/mailstore"
	"rookery/internal/numset"
)

// Rule is what holds for the mailboxes of one name or pattern.
type Rule struct {
	// Mailbox is a name; "*" in it stands for anything, "%" for anything but "/".
	Mailbox string
	// Age is how long ago a message was put into the mailbox (SAVEDATE) when it
	// is removed; 0: never. Messages are looked at in the order of their UIDs, up
	// to the first that is younger.
	Age time.Duration
	// Most is how many messages may be there; the ones with the lowest UIDs go. 0:
	// any number.
	Most uint32
}

// stepSize is how many messages one step removes at most.
const stepSize = 500

// Keeper does one pass over the mailboxes of a store, in steps.
type Keeper struct {
	store mailstore.Store
	rules []Rule
	now   time.Time
	queue []job
	begun bool
}

type job struct {
	name mailstore.Name
	rule Rule
}

// New begins a pass; now is the time that ages are counted to.
func New(store mailstore.Store, rules []Rule, now time.Time) *Keeper {
	return &Keeper{store: store, rules: rules, now: now}
}

// Step removes at most some hundred messages and says whether there is more to
// do. An error concerns one mailbox, which this pass leaves alone from then on.
func (k *Keeper) Step(ctx context.Context) (removed int, more bool, err error) {
	if !k.begun {
		k.begun = true
		if err := k.plan(); err != nil {
			return 0, false, err
		}
	}
	for len(k.queue) > 0 && ctx.Err() == nil {
		n, again, err := k.one(k.queue[0], stepSize-removed)
		removed += n
		if err != nil || !again {
			k.queue = k.queue[1:]
		}
		if err != nil {
			return removed, len(k.queue) > 0, err
		}
		if removed >= stepSize {
			break
		}
	}
	return removed, len(k.queue) > 0, nil
}

// plan finds the mailboxes that a rule is for; the first one that fits counts.
func (k *Keeper) plan() error {
	if len(k.rules) == 0 {
		return nil
	}
	list, err := k.store.List()
	if err != nil {
		return errkind.Wrap("autoexpunge", err)
	}
	for _, f := range list {
		if f.Attrs&(mailstore.NoSelect|mailstore.NonExistent) != 0 {
			continue
		}
		i := slices.IndexFunc(k.rules, func(r Rule) bool { return fits(r.Mailbox, f.Name) })
		if i >= 0 && (k.rules[i].Age > 0 || k.rules[i].Most > 0) {
			k.queue = append(k.queue, job{f.Name, k.rules[i]})
		}
	}
	return nil
}

func fits(pattern string, name mailstore.Name) bool {
	return pattern == name || imapname.NewPattern("", pattern, true).Match(imapname.Name(name))
}

// one removes what is over in one mailbox, at most limit messages.
func (k *Keeper) one(j job, limit int) (removed int, again bool, err error) {
	mb, snap, err := mailstore.Look(k.store, j.name)
	if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) {
		return 0, false, nil // deleted meanwhile
	}
	if err != nil {
		return 0, false, errkind.Wrap("autoexpunge", err)
	}
	defer mb.Close()
	over := 0
	if j.rule.Most > 0 {
		over = max(0, snap.Len()-int(j.rule.Most))
	}
	var old []mailstore.UID
	for pos := 0; pos < snap.Len() && len(old) < limit; pos++ {
		uid := snap.At(pos).UID
		if pos >= over {
			gone, err := k.tooOld(mb, uid, j.rule.Age)
			if err != nil {
				return 0, false, errkind.Wrap("autoexpunge", err)
			}
			if !gone {
				break
			}
		}
		old = append(old, uid)
	}
	if len(old) == 0 {
		return 0, false, nil
	}
	gone, err := mb.Expunge(numset.FromSorted(old))
	return int(gone.Len()), len(old) == limit && !gone.Empty(), errkind.Wrap("autoexpunge", err)
}

func (k *Keeper) tooOld(mb mailstore.Mailbox, uid mailstore.UID, age time.Duration) (bool, error) {
	if age == 0 {
		return false, nil
	}
	f, err := mb.Facts(uid, mailstore.FactsWant{SaveDate: true})
	if errkind.Is(err, errkind.Expunged) {
		return true, nil // then its expunge does nothing
	}
	return err == nil && !f.SaveDate.After(k.now.Add(-age)), err
}
