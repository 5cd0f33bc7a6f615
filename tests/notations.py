"""One person in all the notations that this app must know, and what only looks like it."""

NUMBER = "5544988771234"
WITHOUT_NINTH_DIGIT = "554488771234"
SOMEBODY_ELSE = "5511988887777"
LID = "270497728188446"

#: With its country. By a name that a table can show.
INTERNATIONAL = {
    "digits": NUMBER,
    "without the ninth digit": WITHOUT_NINTH_DIGIT,
    "plus": f"+{NUMBER}",
    "00": f"00{NUMBER}",
    "blanks": "55 44 98877 1234",
    "plus, parentheses, dash": "+55 (44) 98877-1234",
    "plus, a blank": f"+ {NUMBER}",
    "dots": "55.44.98877.1234",
    "a dot after the country": "+55.44988771234",
    "slashes": "55/44/98877/1234",
    "underscores": "+55_44_98877_1234",
    "every digit apart": "+" + " ".join(NUMBER),
    "trunk prefix": "+55 (0) 44 98877-1234",
    "trunk prefix, digits": "55044988771234",
    "zeros before": f"0000{NUMBER}",
    "as WhatsApp copies it": "\u202a+55\xa044\xa098877\u20111234\u202c",
    "another dash": "+55 44 98877\u20131234",
    "escapes of JSON": "".join(f"\\u00{ord(digit):x}" for digit in NUMBER),
    "escapes of JSON, escaped": "".join(f"\\\\u00{ord(digit):x}" for digit in NUMBER),
    "an escaped plus": f"\\u002b{NUMBER}",
    "an escaped blank": "55 44\\u00a098877-1234",
    "wa.me": f"wa.me/{NUMBER}",
    "wa.me, slashes escaped": f"https:\\/\\/wa.me\\/{NUMBER}",
    "a link": f"https://wa.me/{NUMBER}?text=1",
    "a link with a plus": f"https://api.whatsapp.com/send?phone=%2B{NUMBER}",
    "escapes of a URL": "%2B55%20%2844%29%2098877%2D1234",
    "escapes of a URL, escaped": "%252B55%252044%252098877-1234",
    "a form's data": "phone=%2B55+44+98877-1234",
    "digits as escapes of a URL": "".join(f"%{ord(digit):x}" for digit in NUMBER),
    "a no-break space in a URL": "55%C2%A044%C2%A098877%C2%A01234",
    "c.us": f"{NUMBER}@c.us",
    "s.whatsapp.net": f"{WITHOUT_NINTH_DIGIT}@s.whatsapp.net",
    "a device": f"{NUMBER}:12@s.whatsapp.net",
    "agent and device": f"{NUMBER}.0:12@s.whatsapp.net",
    "founder of a group": f"{NUMBER}-1623281429",
    "founder of a group, g.us": f"{NUMBER}-1623281429@g.us",
    "founder of a group, -group": f"{WITHOUT_NINTH_DIGIT}-1623281429-group",
    "a spreadsheet's": f"{NUMBER}.0",
    "a spreadsheet's, longer": f"{NUMBER}.00",
    "an exponent": "5.544988771234e12",
    "a spreadsheet's exponent": "5,544988771234E+12",
    "words around it": f"Tel {NUMBER} (casa)",
    "letters beside it": f"Zé{NUMBER}ção",
}

#: Without its country: a number of Brazil here, perhaps another one's abroad.
NATIONAL = {
    "national": "44988771234",
    "national, without the ninth digit": "4488771234",
    "national, as people write it": "(44) 98877-1234",
    "national, trunk prefix": "044 98877-1234",
    "national, with a carrier": "0 41 44 98877-1234",
    "national, c.us": "44988771234@c.us",
}

#: Texts in which the number stands, and which are not a phone.
TEXTS = {
    "an id of a group": f"false_120363019502650977@g.us_3EB0_{NUMBER}@c.us",
    "an id": f"order-{NUMBER}-1",
    "a count before it": "ticket 12 55 44 98877-1234",
    "a date before it": f"2026-05-06 {NUMBER}",
    "a date after it": "+55 44 98877-1234 06/05/2026",
    "a time before it": f"10:00 {NUMBER}",
    "another number before it": f"{SOMEBODY_ELSE} {NUMBER}",
    "another number before it, plus": f"+{SOMEBODY_ELSE} {NUMBER}",
    "another number before it, slash": "+55 11 98888-7777 / 55 44 98877-1234",
    "another number after it": "+55 44 98877-1234, +55 11 98888-7777",
    "a list": f"{SOMEBODY_ELSE},{NUMBER},{SOMEBODY_ELSE}",
    "an error": f"Phone {NUMBER}. Not found",
    "a remark": "+55 44 98877-1234 (2 tentativas)",
    "CNPJ before it": "12.345.678/0001-95 55 44 98877-1234",
    "an item of a list": "12.55 44 98877-1234",
    "a year and a dot": f"2026.{NUMBER}",
    "an escaped line break before it": "Tel:\\n55 44 98877-1234",
    "a letter before it": f"c{NUMBER}",
}

#: What holds the digits, and is somebody or something else.
OTHERS = {
    "a longer number": f"{NUMBER}1",
    "a longer number's end": f"1{NUMBER}",
    "another's number": SOMEBODY_ELSE,
    "a decimal number": f"0.{NUMBER}",
    "another decimal number": f"12.{NUMBER}",
    "a hexadecimal id": f"3EB0{NUMBER}AF",
    "a hexadecimal id, small letters": f"a{NUMBER}f",
    "a hexadecimal id's end": f"3EB{NUMBER}",
    "a UUID": "55449887-7123-4a1b-8c2d-1234567890ab",
    "a UUID, fewer changes": "55449887-7123-4abc-8c2d-1234567890ab",
    "abroad": "+49 44 98877 1234",
    "abroad, longer": "+7 55 44 98877 1234",
    "abroad, longer, 00": "007 55 44 98877 1234",
    "a privacy id": f"{NUMBER}@lid",
    "a broadcast list": f"{NUMBER}1774-broadcast",
    "two texts": "55449\nz\n88771234",
}
