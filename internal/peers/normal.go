package peers

import (
	"slices"
	"strconv"
	"strings"
)

// Kinds of data, by how much freedom the RFCs leave a server for it.
const (
	kindData  = "data"  // what the command asks for: must be the same
	kindNews  = "news"  // what may be told now or later: EXISTS, EXPUNGE, FLAGS that changed
	kindState = "state" // untagged OK with a code: what a mailbox is, or a hint
)

// Datum is one piece of untagged data, in one form whatever the server.
type Datum struct {
	Kind, Text string
}

// variable are items whose values each server has of its own.
var variable = []string{"MODSEQ", "HIGHESTMODSEQ", "UIDVALIDITY", "MAILBOXID", "EMAILID", "THREADID", "SAVEDATE", "X-GUID", "INTERNALDATE", "APPENDLIMIT"}

// free are attributes of LIST that a server may tell or not.
var free = []string{`\HASCHILDREN`, `\HASNOCHILDREN`, `\MARKED`, `\UNMARKED`, `\NOINFERIORS`}

// normal gives the data of one untagged response; command is the one that runs, in
// capitals.
func normal(response, command string) []Datum {
	rest, ok := strings.CutPrefix(response, "* ")
	if !ok {
		return []Datum{{kindData, response}}
	}
	if t, ok := status(response); ok {
		if t.Cond == "BYE" {
			return []Datum{{kindData, "BYE"}}
		}
		if t.Code == "COPYUID" || t.Code == "APPENDUID" {
			return []Datum{{kindData, t.Code + " " + codeArgs(t)}}
		}
		return []Datum{{kindState, strings.TrimSpace(t.Cond + " " + t.Code)}}
	}
	nodes := parse(rest)
	if len(nodes) == 0 {
		return nil
	}
	if len(nodes) > 1 && isNumber(nodes[0].text) {
		return message(nodes, command)
	}
	name := strings.ToUpper(nodes[0].text)
	switch name {
	case "CAPABILITY", "ID", "FLAGS":
		return []Datum{{kindState, name}}
	case "SEARCH":
		return []Datum{{kindData, "SEARCH " + numbers(nodes[1:])}}
	case "SORT", "THREAD":
		if last := nodes[len(nodes)-1]; len(last.list) == 2 && strings.EqualFold(last.list[0].text, "MODSEQ") {
			nodes[len(nodes)-1] = node{text: "MODSEQ #"}
		}
	case "LIST", "LSUB":
		return []Datum{{kindData, list(name, nodes[1:])}}
	case "STATUS":
		if len(nodes) == 3 {
			return []Datum{{kindData, "STATUS " + mailbox(nodes[1]) + " " + items(nodes[2].list)}}
		}
	case "ESEARCH":
		return []Datum{{kindData, "ESEARCH " + esearch(nodes[1:])}}
	case "VANISHED":
		if !strings.Contains(rest, "EARLIER") {
			return []Datum{{kindNews, "VANISHED " + join(nodes[1:])}}
		}
	case "ENABLED":
		words := strings.Fields(strings.ToUpper(rest))
		if slices.Contains(words, "QRESYNC") { // which has CONDSTORE within it (RFC 7162 §3.2.3)
			words = slices.DeleteFunc(words, func(w string) bool { return w == "CONDSTORE" })
		}
		slices.Sort(words[1:])
		words = slices.Compact(words)
		return []Datum{{kindData, strings.Join(words, " ")}}
	}
	return []Datum{{kindData, name + " " + join(nodes[1:])}}
}

// codeArgs leaves UIDVALIDITY out.
func codeArgs(t Tagged) string {
	_, args, _ := strings.Cut(t.Args, " ")
	return args
}

// message is data of one message or of their number. What comes in answer to FETCH and
// STORE is data, else it is news.
func message(nodes []node, command string) (all []Datum) {
	number, name := nodes[0].text, strings.ToUpper(nodes[1].text)
	switch name {
	case "RECENT": // each server has its own time for it, and revision 2 none
		return nil
	case "EXISTS":
		if strings.HasPrefix(command, "SELECT") || strings.HasPrefix(command, "EXAMINE") {
			return []Datum{{kindData, number + " EXISTS"}}
		}
		return []Datum{{kindNews, number + " EXISTS"}}
	case "FETCH", "UIDFETCH":
		kind := kindNews
		if strings.Contains(command, "FETCH") || strings.Contains(command, "STORE") || strings.Contains(command, "QRESYNC") {
			kind = kindData
		}
		if len(nodes) < 3 {
			return []Datum{{kind, number + " " + name}}
		}
		if n, err := strconv.ParseUint(number, 10, 32); err == nil {
			if set, ok := asked(command); ok && !set.Contains(uint32(n)) {
				kind = kindNews
			}
		}
		for _, item := range pairs(nodes[2].list) {
			if kind == kindData && strings.HasPrefix(item, "FLAGS ") && !strings.Contains(command, "FLAGS") && !strings.Contains(command, "ALL") {
				all = append(all, Datum{kindNews, number + " " + name + " " + item})
				continue
			}
			all = append(all, Datum{kind, number + " " + name + " " + item})
		}
		return all
	}
	return []Datum{{kindData, number + " " + name + " " + join(nodes[2:])}}
}

// pairs reads name and value of each item, in one order.
func pairs(list []node) (all []string) {
	for i := 0; i+1 < len(list); i += 2 {
		name, value := strings.ReplaceAll(strings.ToUpper(list[i].text), `"`, ""), list[i+1].String()
		switch {
		case slices.Contains(variable, name) && value != "NIL":
			value = "#"
		case name == "FLAGS":
			value = set(list[i+1].list, []string{`\RECENT`})
		case name == "BODY" || name == "BODYSTRUCTURE":
			value = strings.ToUpper(value)
		}
		all = append(all, name+" "+value)
	}
	slices.Sort(all)
	return all
}

func items(list []node) string { return "(" + strings.Join(pairs(list), " ") + ")" }

// set writes the words of a list in one order and case, without some.
func set(list []node, without []string) string {
	var words []string
	for _, n := range list {
		if word := strings.ToUpper(n.text); !slices.Contains(without, word) && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return "(" + strings.Join(words, " ") + ")"
}

// list is a LIST response: attributes without those that are free; \NonExistent implies
// \Noselect (RFC 5258 §3).
func list(name string, nodes []node) string {
	if len(nodes) < 3 {
		return name + " " + join(nodes)
	}
	attributes := set(nodes[0].list, free)
	if strings.Contains(attributes, `\NONEXISTENT`) {
		attributes = set(nodes[0].list, append([]string{`\NOSELECT`}, free...))
	}
	nodes[2].text = strings.Trim(mailbox(nodes[2]), `"`)
	return name + " " + attributes + " " + join(nodes[1:])
}

// mailbox is a name; INBOX has no case.
func mailbox(n node) string {
	if strings.EqualFold(n.text, "INBOX") {
		n.text = "INBOX"
	}
	return n.String()
}

// esearch is an ESEARCH response: its items in one order, the tag left out.
func esearch(nodes []node) string {
	var parts []string
	for i := 0; i < len(nodes); i++ {
		word := strings.ToUpper(nodes[i].text)
		switch {
		case nodes[i].list != nil: // the correlator
			for _, p := range pairs(nodes[i].list) {
				if !strings.HasPrefix(p, "TAG ") {
					parts = append(parts, p)
				}
			}
		case word == "UID" || i+1 == len(nodes):
			parts = append(parts, word)
		default:
			value := nodes[i+1].String()
			if word == "MODSEQ" {
				value = "#"
			}
			parts = append(parts, word+" "+value)
			i++
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// numbers sorts those of SEARCH; what is behind them, the mod-sequence, is a variable.
func numbers(nodes []node) string {
	var ns []int
	tail := ""
	for _, n := range nodes {
		if i, err := strconv.Atoi(n.text); err == nil && n.list == nil {
			ns = append(ns, i)
		} else {
			tail = " (MODSEQ #)"
		}
	}
	slices.Sort(ns)
	var words []string
	for _, n := range ns {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, " ") + tail
}

func join(nodes []node) string {
	var parts []string
	for _, n := range nodes {
		parts = append(parts, n.String())
	}
	return strings.Join(parts, " ")
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}
