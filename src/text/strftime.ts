const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
] as const;
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"] as const;

const pad = (value: number, width = 2) => String(value).padStart(width, "0");

const CONVERSIONS: Readonly<Record<string, (date: Date) => string>> = {
  Y: (date) => String(date.getFullYear()),
  y: (date) => pad(date.getFullYear() % 100),
  m: (date) => pad(date.getMonth() + 1),
  B: (date) => MONTHS[date.getMonth()] ?? "",
  b: (date) => (MONTHS[date.getMonth()] ?? "").slice(0, 3),
  d: (date) => pad(date.getDate()),
  A: (date) => DAYS[date.getDay()] ?? "",
  a: (date) => (DAYS[date.getDay()] ?? "").slice(0, 3),
  H: (date) => pad(date.getHours()),
  I: (date) => pad(((date.getHours() + 11) % 12) + 1),
  p: (date) => (date.getHours() < 12 ? "AM" : "PM"),
  M: (date) => pad(date.getMinutes()),
  S: (date) => pad(date.getSeconds()),
  "%": () => "%",
};

/**
 * C's `strftime` in English and local time, as far as chat templates use it; `%-d` leaves out leading zeros. Other
 * conversions stay as they are.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (whole, flag: string, letter: string) => {
    const text = Object.hasOwn(CONVERSIONS, letter) ? CONVERSIONS[letter]?.(date) : undefined;
    if (text === undefined) return whole;
    return flag === "-" ? text.replace(/^0+(?=.)/, "") : text;
  });
}
