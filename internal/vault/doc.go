// Package vault is the Vault of a cluster: how its server comes to life (bootstrap.go, root.go), what it holds
// (layout.go, policy.go) as plain data, how that is observed, compared and repaired (reconcile.go), and a small
// client for those who use it (client.go and login.go, sign.go, document.go).
//
// Who may do what:
//
//   - A machine proves its name once, with an init token (an AppRole secret_id: one use, minutes, from its own
//     address only, handed over wrapped), and from then on holds a periodic token, also tied to its address.
//     It may sign its own certificates, read its own `desired`, write its own `status`, and nothing else.
//   - The operator has an AppRole credential of its own, tied to the operator's address, with tokens of an hour. It
//     reads the whole layout and does the daily work. It cannot change the layout: whoever can write policies can
//     give themselves anything, so such a credential would be a root token by another name.
//   - Changes to the layout are made with a root token that is generated from the unseal keys, exists for the
//     length of that change, and is revoked (WithRoot).
package vault
