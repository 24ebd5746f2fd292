/** Line icons on a 24-unit grid; decoration only, the text or label beside them says what they mean. */

const PATHS = {
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  close: "M6 6l12 12M18 6 6 18",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v1.5M12 19.5V21M3 12h1.5M19.5 12H21M5.6 5.6l1.1 1.1M17.3 17.3l1.1 1.1M5.6 18.4l1.1-1.1M17.3 6.7l1.1-1.1",
  moon: "M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5z",
  similar: "M4 9h10v11H4zM9 9V4h11v11h-6",
  filter: "M4 6h16M7 12h10M10 18h4",
  text: "M5 6h14M5 11h14M5 16h8",
  video: "M4 5h16v14H4zM10 9.2v5.6l5-2.8z",
  audio: "M4 10v4h4l5 4V6l-5 4zM16 9.5a4 4 0 0 1 0 5M18.500 7a8 8 0 0 1 0 10",
  page: "M6 3h8l4 4v14H6zM14 3v4h4",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  hand: "M12 4v16M4 12h16M12 4l-2.5 2.5M12 4l2.5 2.5M12 20l-2.5-2.5M12 20l2.5-2.5M4 12l2.5-2.5M4 12l2.5 2.5M20 12l-2.5-2.5M20 12l-2.5 2.5",
  lasso: "M12 4c5 0 8 2.4 8 5.5S17 15 12 15s-8-2.4-8-5.500S7 4 12 4zM8 14.500c-2 .8-2 3 0 3s2.5 2 .5 3",
  rectangle: "M5 6h14v12H5z",
  reset: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  ascending: "M7 20V4M3 8l4-4 4 4M14 6h3M14 12h5M14 18h7",
  descending: "M7 4v16M3 16l4 4 4-4M14 6h7M14 12h5M14 18h3",
  check: "M5 12.500l4.500 4.500L19 7.500",
  download: "M12 4v11M7.500 10.500 12 15l4.500-4.500M5 19.500h14",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  twins: "M4 8h9v9H4zM11 8V5h9v9h-4",
  folder: "M3.500 6h6l2 2.500h9V19h-17z",
  shuffle: "M3 7h3.500l9 10H20M3 17h3.500l2.700-3M13 9.500 15.500 7H20M17.500 4.500 20 7l-2.500 2.500M17.500 14.500 20 17l-2.500 2.500",
  left: "M14.5 6l-6 6 6 6",
  right: "M9.5 6l6 6-6 6",
  warning: "M12 4 3 19.500h18zM12 10v4.500M12 17h.01",
  external: "M14 4h6v6M20 4l-9 9M10 5H5v14h14v-5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
