package loadtest

// A Message is an envelope and mail data (RFC 5321 §2.3.1, §2.3.9). Its fields
// must not change once it was sent. It is safe for concurrent use and must not
// be copied: see WithRecipients.
type Message struct {
	From       string   // reverse-path without angle brackets; "" is the null reverse-path
	To         []string // forward-paths; at least one
	MailParams string   // esmtp parameters of MAIL, such as "BODY=8BITMIME RET=HDRS"; "" for none
	RcptParams string   // esmtp parameters of every RCPT, such as "NOTIFY=NEVER"; "" for none
	Data       []byte   // header and body, each line ended by CRLF; not dot-stuffed
}
