package smtptest

import (
	"context"
	"net"
	"time"

	"github.com/benchmail/benchmail/internal/smtpwire"
)

// A Hook is asked for each command before the server answers it, and says how to
// go on. It makes a server slow, refusing or broken, in the place and at the
// time that a test wants:
//
//	srv.Hook = func(ctx context.Context, c *smtptest.Command) smtptest.Action {
//		if c.Verb == "RCPT" && c.N == 1 {
//			return smtptest.Action{Reply: "450 4.2.0 Greylisted"}
//		}
//		return smtptest.Action{}
//	}
//
// A Hook is called from the goroutines of all sessions, for one session one call
// after the other. It may wait, for something other than time (for that there is
// Action.Delay), and should return when ctx ends, which it does when the server
// closes. The replies to earlier commands of a pipelined group are sent before a
// Delay, and only after a Hook that waits by itself.
type Hook func(ctx context.Context, c *Command) Action

// A Command is what a Hook is asked about. It must not be kept or changed.
type Command struct {
	// Verb is the command in upper case: "EHLO", "MAIL", ... or whatever the
	// client sent; and "CONNECT", before the greeting; "TLS", before a handshake;
	// ".", at the end of data, of BDAT LAST too. Under LMTP "." is asked for each
	// recipient.
	Verb string
	// Arg is the rest of the line.
	Arg string
	// Session is the number of the session, from 1.
	Session int64
	// Message is the number of the mail transaction in the session, from 1, for
	// MAIL the one that it would begin; 0 outside of transactions.
	Message int64
	// N is how many commands with this verb the server has seen, this one
	// included; those that the server does not know are counted together.
	N int64
	// From and To are the envelope so far, and the path of this MAIL.
	From string
	To   []string
	// Recipient is the path of this RCPT; of "." under LMTP, whom it is for.
	Recipient string
	// RemoteAddr is the client's address.
	RemoteAddr net.Addr
}

// An Action is how to go on. The zero value lets the server answer by itself.
// Its parts compose: wait, reply, hang up.
type Action struct {
	// Reply is sent in place of the server's own: "450 4.2.0 Try later", or
	// several lines with "\n" between them. It is sent as it is, right or wrong;
	// the line ends are added. "" means the server's own.
	//
	// If it begins with the digit that means success for the command (3 for
	// DATA, 2 for all others that the server knows), the command is carried out
	// and Reply takes the place of the server's reply, provided that this is
	// positive too. Any other means that it is not carried out.
	//
	// After a 421 the session ends. A CONNECT that is answered with anything but
	// 2 leaves a session that answers 503 until QUIT (RFC 5321 §3.1). A Reply to
	// TLS is sent in place of the handshake, and the session ends.
	Reply string
	// Delay is how long to wait before the reply. The session reads nothing
	// meanwhile. The delays of LMTP's replies to one message add up: they are
	// sent together.
	Delay time.Duration
	// Close is whether to hang up, and how.
	Close CloseMode
}

// CloseMode is how a Hook ends a session.
type CloseMode uint8

const (
	// KeepOpen does not end it.
	KeepOpen CloseMode = iota
	// CloseAfterReply ends it after the reply.
	CloseAfterReply
	// CloseWithoutReply ends it in place of a reply. The command is not carried
	// out; replies to earlier ones are sent. For TLS: before the handshake.
	CloseWithoutReply
	// Reset ends it with a RST in place of a reply. The command is not carried
	// out. It is CloseWithoutReply where there is no TCP.
	Reset
	// ClosePartial sends the first half of the reply and ends it. A "." is not
	// carried out: the message does not count.
	ClosePartial
)

// Verbs that are no commands.
const (
	verbConnect = smtpwire.XCLIENT + 1 + iota
	verbTLS
	verbEnd
	verbCount
)

func verbName(v smtpwire.Verb) string {
	switch v {
	case smtpwire.Unknown:
		return "unknown"
	case verbConnect:
		return "CONNECT"
	case verbTLS:
		return "TLS"
	case verbEnd:
		return "."
	}
	return v.String()
}

// ask counts a command and asks the Hook, if there is one, how to go on. It
// fails if the server closes while it waits.
func (c *session) ask(v smtpwire.Verb, cmd Command) (Action, error) {
	c.counts.commands[v].Add(1)
	if c.srv.Hook == nil {
		return Action{}, nil
	}
	return c.callHook(v, cmd)
}

func (c *session) callHook(v smtpwire.Verb, cmd Command) (Action, error) {
	if cmd.Verb == "" {
		cmd.Verb = verbName(v)
	}
	cmd.N = c.srv.hookSeen[v].Add(1)
	cmd.Session = c.id
	cmd.RemoteAddr = c.raw.RemoteAddr()
	if v == smtpwire.MAIL && !c.tx.active {
		cmd.Message = c.transactions + 1
	} else if c.tx.active {
		cmd.Message = c.transactions
		cmd.From = c.tx.from
		cmd.To = c.tx.to[:len(c.tx.to):len(c.tx.to)]
	}
	// An odd number of turns tells the sweep that it is not the client who
	// keeps us waiting.
	c.turns.Add(1)
	defer c.turns.Add(1)
	c.inHook.Store(&cmd.Verb)
	defer c.inHook.Store(nil)
	act := c.srv.Hook(c.srv.ctx, &cmd)
	if act.Delay > 0 {
		if !c.holdReplies {
			if err := c.flush(); err != nil {
				return act, err
			}
		}
		c.log("wait %v", act.Delay)
		c.srv.sleep(act.Delay)
	}
	return act, c.srv.ctx.Err()
}

// begin does what act wants done before the command. It reports whether the
// command is to be carried out; success is the first digit of its good reply.
func (c *session) begin(act Action, success byte) (carryOut bool) {
	c.mark = len(c.out)
	c.override = ""
	switch act.Close {
	case CloseWithoutReply:
		c.closing = true
		return false
	case Reset:
		c.closing, c.rst = true, true
		return false
	case CloseAfterReply, ClosePartial:
		c.closing = true
	}
	if act.Reply == "" {
		return true
	}
	if act.Reply[0] == success {
		c.override = act.Reply
		return true
	}
	c.sayRaw(act.Reply)
	return false
}

// end does what act wants done after the command.
func (c *session) end(act Action) {
	c.override = ""
	if act.Close == ClosePartial {
		c.out = c.out[:c.mark+(len(c.out)-c.mark)/2]
	}
}
