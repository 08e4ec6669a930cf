// In the page: a glTF file as three.js plays it. `play` is what play.mjs calls.
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

window.play = async (url, width, height, times) => {
  const gltf = await new GLTFLoader().loadAsync(url);
  const renderer = new THREE.WebGLRenderer({ antialias: false, preserveDrawingBuffer: true });
  renderer.setPixelRatio(1);
  renderer.setSize(width, height);
  document.body.appendChild(renderer.domElement);
  const scene = new THREE.Scene();
  scene.add(gltf.scene);
  scene.add(new THREE.HemisphereLight(0xffffff, 0x665544, 2));
  const sun = new THREE.DirectionalLight(0xffffff, 2);
  sun.position.set(1, 1.5, 3);
  scene.add(sun);
  const mixer = new THREE.AnimationMixer(gltf.scene);
  for (const clip of gltf.animations) mixer.clipAction(clip).play();
  const heads = [];
  scene.traverse((node) => node.isSkinnedMesh && heads.push(node));
  const white = new THREE.MeshBasicMaterial({ color: 0xffffff, side: THREE.DoubleSide });
  const camera = gltf.cameras[0];

  const picture = () => {
    renderer.render(scene, camera);
    return renderer.domElement.toDataURL("image/png");
  };
  return times.map((time) => {
    mixer.setTime(time);
    scene.updateMatrixWorld(true);
    const vertices = heads.map((head) => {
      head.skeleton.update();
      const point = new THREE.Vector3();
      const values = [];
      for (let i = 0; i < head.geometry.attributes.position.count; i++) {
        head.localToWorld(head.getVertexPosition(i, point));
        values.push(point.x, point.y, point.z);
      }
      return values;
    });
    scene.background = new THREE.Color(0x8090a0);
    const textured = picture();
    scene.background = new THREE.Color(0x000000);
    scene.overrideMaterial = white;
    const silhouette = picture();
    scene.overrideMaterial = null;
    return { vertices, textured, silhouette, targets: heads.map((head) => Object.keys(head.morphTargetDictionary)) };
  });
};
window.ready = true;
