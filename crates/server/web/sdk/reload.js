// @ts-self-types="./reload.d.ts"
/* roomcast 0.1.0, Apache-2.0 OR MIT */
function e(e,s){let r,t=()=>{try{let s=sessionStorage.getItem(e);return sessionStorage.removeItem(e),s}catch{return null}},i=s((e=>{try{let s=JSON.parse(e);if(Array.isArray(s[3]))return s}catch{}})(t()));return globalThis.addEventListener?.("pagehide",()=>{if("closed"!=i.status.state){r=JSON.stringify(i.save());try{r&&sessionStorage.setItem(e,r)}catch{}}}),globalThis.addEventListener?.("pageshow",({persisted:e})=>{e&&r&&t()!=r&&location.reload()}),i}export{e as keepOverReload};
