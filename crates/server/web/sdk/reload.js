// @ts-self-types="./reload.d.ts"
/* roomcast 0.1.0, Apache-2.0 OR MIT */
function e(e,t){let r,s=()=>{try{let t=sessionStorage.getItem(e);return sessionStorage.removeItem(e),t}catch{return null}},a=t((e=>{try{let t=JSON.parse(e);if(Array.isArray(t[3]))return t}catch{}})(s()));return globalThis.addEventListener?.("pagehide",()=>{if("closed"!=a.status.state){r=JSON.stringify(a.save());try{r&&sessionStorage.setItem(e,r)}catch{}}}),globalThis.addEventListener?.("pageshow",({persisted:e})=>{e&&r&&s()!=r&&location.reload()}),a}export{e as keepOverReload};
