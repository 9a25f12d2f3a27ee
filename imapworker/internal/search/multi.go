package search

import (
	"rookery/imapworker/internal/view"
	"rookery/internal/imapwire"
	"rookery/internal/message"
)

// multi is ESEARCH: what stands behind its source options.
type multi struct{ command }

// Multi gives the parser of what follows the source options of ESEARCH.
//
//	esearch = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts]
//	          SP search-program                             RFC 7377 §4
func Multi(cfg Config) view.ParseMulti {
	return func(d *imapwire.Decoder) (view.MultiJob, bool) {
		c := &multi{command{cfg: &cfg, root: &node{kind: kAnd}}}
		if !c.mayReturn(d) {
			return nil, false
		}
		if !c.extended {
			// RFC 7377 §2.1: without a result option ALL is meant.
			c.extended, c.want = true, rAll
		}
		return c, c.program(d)
	}
}

// Saves is for view.MultiJob.
func (c *multi) Saves() bool { return c.save }

// Updates is for view.MultiJob.
func (c *multi) Updates() bool { return c.update }

// Check is for view.MultiJob. A charset or a filter that is not there is refused also
// where no mailbox is left to search (RFC 7377 §2, RFC 5466 §3.1).
func (c *multi) Check(ctx *view.Context) (reply view.Reply, err error) {
	if reply, err = c.expand(ctx); reply.Cond == "" && err == nil && c.charset != "" {
		if _, known := message.Decoder(c.charset); !known {
			reply = badCharset
		}
	}
	c.end(ctx, reply, err)
	return reply, err
}

// Search is for view.MultiJob.
func (c *multi) Search(ctx *view.Context, name string, selected bool) (reply view.Reply, err error) {
	reply, err = c.search(ctx, name, selected)
	c.end(ctx, reply, err)
	return reply, err
}

func (c *multi) search(ctx *view.Context, name string, selected bool) (view.Reply, error) {
	if reply, err := c.expand(ctx); reply.Cond != "" || err != nil {
		return reply, err
	}
	r := &run{command: &c.command, ctx: ctx, box: ctx.View.Box()}
	if !r.ready() {
		return badCharset, nil
	}
	if c.modSeq && !ctx.View.HasModSeqs() && !selected {
		return view.Reply{}, nil // no message there has one
	}
	if c.modSeq {
		if refused, ok := ctx.NeedModSeqs(); !ok {
			return refused, nil
		}
	}
	if err := r.search(); err != nil {
		return view.Reply{}, err
	}
	h := head{tag: ctx.Tag, uid: true, mailbox: name, validity: r.box.Info().UIDValidity}
	found := outcome{seqs: r.hits}
	if len(r.hits) > 0 && !c.quiet() {
		// RFC 7377 §2.1: "MUST NOT be returned for mailboxes that contain no
		// matching messages", whatever is asked for.
		c.writeExtended(ctx, h, found)
	}
	if r.broken != nil {
		return view.Reply{}, r.broken
	}
	c.keep(ctx, found.seqs)
	if selected {
		c.follow(ctx, h, found, nil)
	}
	return view.Reply{}, nil
}
